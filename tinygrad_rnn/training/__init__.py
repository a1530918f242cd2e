"""What a training run needs around the gradient: early stopping, ensembles, snapshots on disk."""

from .early_stopping import EarlyStopping
from .ensemble import Ensemble, bootstrap
from .snapshot import Snapshot, load_snapshot, save_snapshot

__all__ = ["EarlyStopping", "Ensemble", "Snapshot", "bootstrap", "load_snapshot", "save_snapshot"]
