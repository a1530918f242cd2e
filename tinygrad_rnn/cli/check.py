"""Check the gradient of every primitive and of every cell."""
from __future__ import annotations

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> int:
    return 0
