"""Snapshots: named arrays and a JSON object in one safetensors file, written whole or not at all. Never pickle."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import SnapshotError
from ..tensor import Tensor

_KEY = "tinygrad_rnn"  # the entry of the file's metadata that holds the JSON object
_DTYPES = ("bool", "uint8", "int32", "int64", "float32", "float64")


class Snapshot(NamedTuple):
    """What a snapshot file holds."""

    arrays: dict[str, Any]  # NumPy arrays by name
    metadata: dict[str, Any]  # JSON

    def part(self, prefix: str) -> dict[str, Any]:
        """The arrays whose names begin with ``prefix.``, without the prefix."""
        start = prefix + "."
        return {name[len(start) :]: array for name, array in self.arrays.items() if name.startswith(start)}


def save_snapshot(path: str | os.PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write named arrays and a JSON object as a safetensors file.

    path: the file; its folder is made.  arrays: NumPy arrays or Tensors, of bools, uint8, int32, int64, float32 or
    float64.  metadata: what `json` can write.

    The file is written under another name, flushed to the disk, and renamed: whoever reads `path`, also after a crash,
    finds the old snapshot or the new one. Raises SnapshotError for arrays or metadata that cannot be written.

    >>> import numpy as np, tempfile, os
    >>> from tinygrad_rnn.training import load_snapshot, save_snapshot
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     save_snapshot(path, {"weight": np.ones(3)}, {"steps": 7})
    ...     load_snapshot(path).metadata
    {'steps': 7}
    """
    from safetensors.numpy import save

    listed = {name: _plain(name, array) for name, array in arrays.items()}
    try:
        text = json.dumps(metadata)
    except (TypeError, ValueError) as error:
        raise SnapshotError(f"the metadata of a snapshot is JSON: {error}") from error
    data = save(listed, metadata={_KEY: text})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_snapshot(path: str | os.PathLike[str]) -> Snapshot:
    """Read what `save_snapshot` wrote.

    Nothing in the file is run. Raises SnapshotError for a file that is missing, cut off or not safetensors, that was
    written by something else, or that holds dtypes other than those of `save_snapshot`.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise SnapshotError(f"{path} is a folder; a snapshot is a file, such as {path / 'model.safetensors'}")
    if not path.exists():
        raise SnapshotError(f"there is no snapshot {path}")
    if not path.is_file():  # to open a pipe would wait for ever
        raise SnapshotError(f"{path} is no file")
    arrays = {}
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise SnapshotError(f"{path} is a safetensors file, but no snapshot of this library")
            for name in file.keys():  # noqa: SIM118 - not a dict
                arrays[name] = file.get_tensor(name)
        metadata = json.loads(text)
    except SnapshotError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SnapshotError(
            f"{path} cannot be read as a snapshot: {error}. It may be cut off, or be another kind of file."
        ) from error
    if not isinstance(metadata, dict):
        raise SnapshotError(f"{path}: the metadata is a {type(metadata).__name__}, not an object")
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES:
            raise SnapshotError(f"{path}: {name} is of {array.dtype}; expected one of {', '.join(_DTYPES)}")
    return Snapshot(arrays, metadata)


def _plain(name: str, array: Any) -> Any:
    if name == "__metadata__":
        raise SnapshotError("the name __metadata__ is taken by the file format; rename the array")
    array = np.asarray(array.numpy() if isinstance(array, Tensor) else array)
    if array.dtype.name not in _DTYPES:
        raise SnapshotError(f"{name} is of {array.dtype}; a snapshot holds {', '.join(_DTYPES)}")
    return np.ascontiguousarray(array).reshape(array.shape)  # ascontiguousarray makes a 0-d array 1-d


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
