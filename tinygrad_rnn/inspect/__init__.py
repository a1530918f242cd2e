"""Looking inside: what a tape recorded."""

from .table import table

__all__ = ["table"]
