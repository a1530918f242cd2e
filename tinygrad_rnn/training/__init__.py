"""What a training run needs around the gradient: snapshots on disk."""

from .snapshot import Snapshot, load_snapshot, save_snapshot

__all__ = ["Snapshot", "load_snapshot", "save_snapshot"]
