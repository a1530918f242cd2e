"""Corpora from files: the fixed split, what is read and in which order, and every error."""

import hashlib
import os
import sysconfig

import pytest

from tinygrad_rnn.data import arithmetic, read_files, standard_library
from tinygrad_rnn.data.corpus import make_text, split
from tinygrad_rnn.data.text import STANDARD_LIBRARY_CAP, STANDARD_LIBRARY_FILES
from tinygrad_rnn.errors import ArgumentError, DataError

LINES = "".join(f"line number {i}\n" for i in range(200))


def test_the_standard_library_text_is_large_capped_and_always_the_same():
    text = standard_library()
    assert 400_000 < text.characters <= STANDARD_LIBRARY_CAP
    assert text == standard_library()
    assert text.files == STANDARD_LIBRARY_FILES and text.note == ""
    assert 0.079 < len(text.validation) / text.characters < 0.09
    assert "\r" not in text.train and text.validation.endswith("\n")


def test_the_hash_is_that_of_both_parts():
    text = standard_library()
    assert text.sha256 == hashlib.sha256((text.train + text.validation).encode()).hexdigest()


def test_missing_modules_are_skipped_and_named(tmp_path, monkeypatch):
    for name in STANDARD_LIBRARY_FILES[1:]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(LINES * 4, newline="\n")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    text = standard_library()
    assert text.files == STANDARD_LIBRARY_FILES[1:]
    assert STANDARD_LIBRARY_FILES[0] in text.note and STANDARD_LIBRARY_FILES[1] not in text.note


def test_arithmetic_stands_in_where_there_is_no_standard_library(tmp_path, monkeypatch):
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    text = standard_library()
    assert text.train == arithmetic().train and text.sha256 == arithmetic().sha256
    assert "arithmetic" in text.note and str(tmp_path) in text.note


def test_the_cap_cuts_the_last_module(tmp_path, monkeypatch):
    for name in STANDARD_LIBRARY_FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(LINES * 16, newline="\n")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    text = standard_library()
    assert text.characters == STANDARD_LIBRARY_CAP
    assert text.files == STANDARD_LIBRARY_FILES[: len(text.files)] and len(text.files) < len(STANDARD_LIBRARY_FILES)


@pytest.mark.parametrize("content", ["", "x", "\n", "ab\ncd\n", LINES, "no newline " * 100, "first\n" + "y" * 999])
def test_a_split_loses_nothing_and_keeps_8_to_16_percent(content):
    train, validation = split(content)
    assert train + validation == content
    share = len(content) * 8 // 100
    assert share <= len(validation) <= 2 * share


def test_a_split_falls_on_a_line_end_where_lines_are_short():
    train, validation = split(LINES)
    assert train.endswith("\n") and validation.startswith("line number")


def test_every_file_gives_both_parts(tmp_path):
    for letter in "abc":
        (tmp_path / f"{letter}.txt").write_text(f"{letter}\n" * 500)
    text = read_files(tmp_path)
    assert set(text.train) == set(text.validation) == set("abc\n")


def test_a_single_file_hashes_like_its_bytes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(LINES.encode())
    assert read_files(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_path_may_be_given_alone_or_in_a_list_as_str_or_path(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(LINES)
    assert read_files(path) == read_files(str(path)) == read_files([path]) == read_files([str(path)])


def test_newlines_and_byte_order_marks_of_other_systems_make_no_difference(tmp_path):
    (tmp_path / "unix").write_bytes(LINES.encode())
    (tmp_path / "windows").write_bytes(b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode())
    (tmp_path / "old").write_bytes(LINES.replace("\n", "\r").encode())
    (tmp_path / "cut").write_bytes(LINES.rstrip("\n").encode())
    assert len({read_files(tmp_path / name).sha256 for name in ("unix", "windows", "old", "cut")}) == 1


def test_a_folder_is_read_in_sorted_order_without_hidden_and_binary_files(tmp_path):
    for name in ("b.txt", "a/z.txt", "a/é.py", ".hidden", ".git/config", "a/.cache/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(LINES, encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n" * 500)
    (tmp_path / "null.txt").write_bytes(b"a\0b\n" * 500)
    (tmp_path / "empty.txt").write_bytes(b"")
    text = read_files(tmp_path)
    names = [os.path.relpath(name, tmp_path).replace(os.sep, "/") for name in text.files]
    assert names == ["a/z.txt", "a/é.py", "b.txt"]
    assert "latin.txt" in text.note and "null.txt" in text.note and "empty" not in text.note


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_passed_over_and_refused_by_name(tmp_path):
    (tmp_path / "a.txt").write_text(LINES)
    os.mkfifo(tmp_path / "pipe")
    assert len(read_files(tmp_path).files) == 1
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read_files(tmp_path / "pipe")


def test_a_file_reached_twice_counts_once(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(LINES)
    assert read_files([path, tmp_path, path]).characters == len(LINES)


def test_limit_keeps_the_first_characters_and_says_so(tmp_path):
    (tmp_path / "a.txt").write_text("a\n" * 400)
    (tmp_path / "b.txt").write_text("b\n" * 400)
    (tmp_path / "c.txt").write_text("c\n" * 400)
    text = read_files(tmp_path, limit=1_001)
    assert text.characters == 1_001 and len(text.files) == 2 and "1,001" in text.note
    assert read_files(tmp_path, limit=10_000).note == ""


def missing(folder):
    return folder / "nowhere.txt"


def empty(folder):
    (folder / "empty.txt").write_text("")
    return folder / "empty.txt"


def blank(folder):
    (folder / "blank.txt").write_text(" \n" * 1000)
    return folder / "blank.txt"


def short(folder):
    (folder / "short.txt").write_text("too short\n")
    return folder / "short.txt"


def null(folder):
    (folder / "null.bin").write_bytes(b"a\0" * 1000)
    return folder / "null.bin"


def latin(folder):
    (folder / "latin.txt").write_bytes(b"caf\xe9 " * 1000)
    return folder / "latin.txt"


def empty_folder(folder):
    (folder / "folder").mkdir()
    return folder / "folder"


@pytest.mark.parametrize(
    ("make", "says", "fix"),
    [
        (missing, "does not exist", "Check the spelling"),
        (empty, "holds no text", "Give a file"),
        (blank, "holds no text", "Give a file"),
        (short, "has 10 characters", "Give a longer text"),
        (null, "contains NUL", "Leave it out"),
        (latin, "not UTF-8 text .byte 0xe9 at position 3", "Convert it"),
        (empty_folder, "no UTF-8 text file", "Name a folder"),
    ],
)
def test_an_error_names_the_path_and_the_fix(tmp_path, make, says, fix):
    path = make(tmp_path)
    with pytest.raises(DataError, match=says) as caught:
        read_files(path)
    assert str(path) in str(caught.value) and fix in str(caught.value)


def test_a_missing_path_is_reported_even_behind_the_limit(tmp_path):
    (tmp_path / "a.txt").write_text(LINES)
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        read_files([tmp_path / "a.txt", tmp_path / "nowhere.txt"], limit=1_000)


def test_no_path_and_too_small_a_limit_are_refused(tmp_path):
    with pytest.raises(DataError, match="no path"):
        read_files([])
    with pytest.raises(ArgumentError, match="limit is 10"):
        read_files(tmp_path, limit=10)


def test_many_files_too_small_to_split_are_refused():
    with pytest.raises(DataError, match="Join them"):
        make_text([(str(i), "tiny\n") for i in range(500)], name="tiny files")


def test_a_text_is_not_printed_with_its_repr():
    assert len(repr(standard_library())) < 1_000
