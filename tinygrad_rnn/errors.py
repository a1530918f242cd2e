"""The project's exceptions. Each derives from TinygradRNNError and from the built-in that fits."""

__all__ = [
    "ArgumentError",
    "AxisError",
    "BackendMismatchError",
    "BackendUnavailableError",
    "DTypeError",
    "DataError",
    "GradientError",
    "ImmutableError",
    "IndexingError",
    "LinAlgError",
    "ShapeError",
    "SnapshotError",
    "StateDictError",
    "TapeError",
    "TinygradRNNError",
    "UnusedSourceError",
]


class TinygradRNNError(Exception):
    """Base of every exception that this library raises on purpose."""


class ShapeError(TinygradRNNError, ValueError):
    """Shapes, axes or lengths do not fit an operation."""


class DTypeError(TinygradRNNError, TypeError):
    """A dtype does not fit an operation; the message names the cast to write."""


class ArgumentError(TinygradRNNError, ValueError):
    """An argument has a value that the function cannot use."""


class IndexingError(TinygradRNNError, IndexError):
    """An index points outside a tensor, or has too many dimensions."""


class AxisError(ShapeError, IndexingError):
    """An axis is out of range for a tensor; a ValueError and an IndexError, as NumPy's own."""


class ImmutableError(TinygradRNNError, TypeError):
    """An attempt to write into a Tensor."""


class BackendMismatchError(TinygradRNNError, ValueError):
    """Tensors of two backends met in one operation."""


class BackendUnavailableError(TinygradRNNError, RuntimeError):
    """A backend is unknown, or cannot run on this machine."""


class TapeError(TinygradRNNError, RuntimeError):
    """A tape is missing, gone, or used in a way that its design excludes."""


class GradientError(TinygradRNNError, ValueError):
    """A gradient was asked for that does not exist."""


class UnusedSourceError(GradientError):
    """The target of a gradient never used one of the sources."""


class LinAlgError(TinygradRNNError, ValueError):
    """A matrix is singular, or not positive definite."""


class StateDictError(TinygradRNNError, KeyError):
    """A state_dict does not fit the module; the message lists every difference."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class SnapshotError(TinygradRNNError, ValueError):
    """A snapshot on disk is missing, cut off, or made for something else."""


class DataError(TinygradRNNError, ValueError):
    """Input data cannot be used: empty, not finite, or of the wrong kind."""
