"""Training: `fit` and its loop, batches, early stopping, ensembles, snapshots on disk."""

from .batches import ArrayBatches
from .early_stopping import EarlyStopping
from .ensemble import Ensemble, bootstrap
from .fit import Fit, fit
from .loop import Loop, Pace
from .metrics import History
from .snapshot import Snapshot, load_snapshot, save_snapshot

__all__ = [
    "ArrayBatches", "EarlyStopping", "Ensemble", "Fit", "History", "Loop", "Pace", "Snapshot", "bootstrap", "fit",
    "load_snapshot", "save_snapshot",
]  # fmt: skip
