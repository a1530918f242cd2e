"""Snapshots: what was written is read, a broken file is an error and nothing else, and a crash leaves the old one."""

import json
import os
import pickle
import stat
import struct

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.errors import SnapshotError
from tinygrad_rnn.training import load_snapshot, save_snapshot

ARRAYS = {
    "flags": np.array([True, False]),
    "bytes": np.arange(3, dtype=np.uint8),
    "small": np.arange(6, dtype=np.int32).reshape(2, 3),
    "whole": np.int64(-7).reshape(()),
    "single": np.array([[1.5, -0.0], [np.inf, np.nan]], dtype=np.float32),
    "double": np.array([np.pi]),
    "none": np.zeros((0, 4), dtype=np.float32),
}


def file_of(header, data=b"", length=None):
    """The bytes of a safetensors file: the header's length, the header, the data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_arrays_of_every_dtype_and_the_metadata_come_back_bit_for_bit(tmp_path):
    metadata = {"steps": 7, "rate": 0.1, "text": "ä\ud800", "list": [None, True, {}]}
    save_snapshot(tmp_path / "a" / "b.safetensors", ARRAYS, metadata)
    arrays, kept = load_snapshot(str(tmp_path / "a" / "b.safetensors"))
    assert kept == metadata
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


def test_tensors_and_views_that_are_not_contiguous_are_written_as_they_look(tmp_path):
    view = np.arange(12, dtype=np.float32).reshape(3, 4)[::-1, ::2]
    save_snapshot(tmp_path / "x", {"view": view, "turned": view.T, "tensor": tg.tensor([1.0, 2.0])}, {})
    arrays = load_snapshot(tmp_path / "x").arrays
    assert np.array_equal(arrays["view"], view)
    assert np.array_equal(arrays["turned"], view.T)
    assert arrays["tensor"].tolist() == [1.0, 2.0]


def test_part_takes_the_names_below_a_prefix(tmp_path):
    save_snapshot(tmp_path / "x", {"model.a.b": np.ones(1), "models.c": np.ones(1), "model": np.ones(1)}, {})
    assert list(load_snapshot(tmp_path / "x").part("model")) == ["a.b"]


@pytest.mark.parametrize(
    "array", [np.ones(1, np.float16), np.array(["text"]), np.array([object()]), np.ones(1, np.complex64)]
)
def test_other_dtypes_are_refused_and_leave_no_file(tmp_path, array):
    with pytest.raises(SnapshotError, match=r"x is of .*; a snapshot holds bool"):
        save_snapshot(tmp_path / "file", {"x": array}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_the_format_keeps_for_itself_is_refused(tmp_path):
    with pytest.raises(SnapshotError, match="__metadata__"):
        save_snapshot(tmp_path / "file", {"__metadata__": np.ones(1)}, {})


def test_metadata_that_is_not_json_is_refused(tmp_path):
    circle = {}
    circle["self"] = circle
    for metadata in ({"x": {1, 2}}, {"x": np.float32(1)}, circle):
        with pytest.raises(SnapshotError, match="the metadata of a snapshot is JSON"):
            save_snapshot(tmp_path / "file", {}, metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_what_goes_wrong_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, where, error):
    path = tmp_path / "model.safetensors"
    save_snapshot(path, {"w": np.zeros(2)}, {"steps": 1})

    def fail(*_):
        raise error

    monkeypatch.setattr(os, where, fail)
    with pytest.raises(type(error)):
        save_snapshot(path, {"w": np.ones(2)}, {"steps": 2})
    monkeypatch.undo()
    assert load_snapshot(path).metadata == {"steps": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_the_file_has_the_permissions_of_any_other_new_file(tmp_path):
    save_snapshot(tmp_path / "snapshot", {}, {})
    (tmp_path / "other").touch()
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    path = tmp_path / "whole"
    save_snapshot(path, {"w": np.ones(5)}, {"steps": 1})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotError, match="cannot be read as a snapshot"):
            load_snapshot(path)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
OURS = {"__metadata__": {"tinygrad_rnn": "{}"}}
HOSTILE = {
    "empty": b"",
    "huge header": file_of({}, length=2**63),
    "header longer than the file": file_of({}, length=1000),
    "no JSON": file_of(b"{]"),
    "header is a list": file_of([1, 2]),
    "header is no text": file_of(b"\xff\xfe{}"),
    "text": b"this is a text file of some length\n" * 10,
    "pickle": pickle.dumps({"weight": [1.0, 2.0]}),
    "size of 10**9": file_of({**OURS, "w": {**ENTRY, "shape": [10**9]}}, b"\0" * 8),
    "shape that overflows": file_of({**OURS, "w": {**ENTRY, "shape": [2**62, 2**62]}}, b"\0" * 8),
    "negative shape": file_of({**OURS, "w": {**ENTRY, "shape": [-2]}}, b"\0" * 8),
    "offsets outside": file_of({**OURS, "w": {**ENTRY, "data_offsets": [8, 16]}}, b"\0" * 8),
    "data that nothing names": file_of(OURS, b"\0" * 8),
    "another dtype": file_of({**OURS, "w": {**ENTRY, "dtype": "F16", "shape": [4]}}, b"\0" * 8),
    "a dtype NumPy lacks": file_of({**OURS, "w": {**ENTRY, "dtype": "BF16", "shape": [4]}}, b"\0" * 8),
    "an 8-bit float": file_of({**OURS, "w": {**ENTRY, "dtype": "F8_E4M3", "shape": [8]}}, b"\0" * 8),
    "not ours": file_of({"w": ENTRY}, b"\0" * 8),
    "metadata of another": file_of({"__metadata__": {"format": "pt"}, "w": ENTRY}, b"\0" * 8),
    "metadata is no JSON": file_of({"__metadata__": {"tinygrad_rnn": "{"}}),
    "metadata is a list": file_of({"__metadata__": {"tinygrad_rnn": "[1]"}}),
    "metadata is deep": file_of({"__metadata__": {"tinygrad_rnn": "[" * 200_000}}),
    "metadata is a long number": file_of({"__metadata__": {"tinygrad_rnn": "9" * 10_000}}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_a_snapshot_error(tmp_path, name):
    path = tmp_path / "hostile"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(SnapshotError, match="hostile"):
        load_snapshot(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(SnapshotError, match="there is no snapshot .*nowhere"):
        load_snapshot(tmp_path / "nowhere")
    with pytest.raises(SnapshotError, match="is a folder; a snapshot is a file"):
        load_snapshot(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SnapshotError, match="is no file"):
        load_snapshot(tmp_path / "pipe")
