"""Corpora from files: Python's own standard library, or any files and folders.

Why the default corpus is fixed: a number of bits per character means something only beside another one for the
same text. So the list of modules, their order, the cap and the split below never depend on the machine. What does
differ is the library itself, between versions of Python (3.11 and 3.12 word some modules differently): the name
carries the version, and the SHA-256, which is printed with every result, tells whether two numbers may be compared.
"""

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import ArgumentError, DataError
from .corpus import MINIMUM_CHARACTERS, Text, make_text
from .grammar import arithmetic

# Plain prose-like modules that every version from 3.11 to 3.14 has; the largest stand last, where the cap cuts.
STANDARD_LIBRARY_FILES = (
    "heapq.py",
    "textwrap.py",
    "functools.py",
    "random.py",
    "json/decoder.py",
    "json/encoder.py",
    "contextlib.py",
    "copy.py",
    "queue.py",
    "shlex.py",
    "fractions.py",
    "tempfile.py",
    "collections/__init__.py",
    "dataclasses.py",
    "argparse.py",
)
STANDARD_LIBRARY_CAP = 480_000
STANDARD_LIBRARY_MINIMUM = 100_000


def standard_library() -> Text:
    """The text of a fixed list of modules of Python's standard library, as found on this machine.

    About 470,000 characters, at most 480,000. The last 8 % of every file are the validation part, so training and
    validation come from the same files. See the head of this module for why list and split are fixed.

    Returns
    -------
    Text
        Missing files are named in ``note``. Where less than 100,000 characters are found (an interpreter whose
        library is zipped or stripped), the text is that of `arithmetic`, and ``note`` says so.

    Examples
    --------
    >>> text = standard_library()
    >>> 100_000 < text.characters <= 480_000
    True
    >>> len(text.sha256)
    64
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    found: list[tuple[str, str]] = []
    missing: list[str] = []
    for name in STANDARD_LIBRARY_FILES:
        try:
            found.append((name, _read(folder / name)))
        except DataError:
            missing.append(name)
    pieces = _first(found, STANDARD_LIBRARY_CAP)
    if sum(len(content) for _, content in pieces) < STANDARD_LIBRARY_MINIMUM:
        return replace(arithmetic(), note=f"{folder} holds too little of the standard library's text; "
                                          "a generated arithmetic grammar stands in for it")  # fmt: skip
    version = ".".join(map(str, sys.version_info[:3]))
    note = f"not found in {folder}: {', '.join(missing)}" if missing else ""
    return make_text(pieces, name=f"standard library of Python {version}", note=note)


def read_files(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], limit: int | None = None) -> Text:
    """The text of files and folders, with the same split as `standard_library`.

    Of a folder, all text files below it are read, in the order of their relative paths. Hidden files and folders,
    and files that are not UTF-8 text or contain NUL, are left out there; ``note`` names the latter. Links to folders
    are not followed. A file that is reached twice counts once. Newlines become ``\\n``, a byte order mark is
    dropped, and a last line without a newline gets one.

    Parameters
    ----------
    paths : path or iterable of paths
        Files and folders, in the order in which they are to be read.
    limit : int, optional
        Keep only the first `limit` characters.

    Raises
    ------
    DataError
        If a path does not exist, a file named here is not UTF-8 text or cannot be read, a folder has no text, or
        the whole text is empty or shorter than 1,000 characters.
    ArgumentError
        If `limit` is below 1,000.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "b.txt").write_text("second\\n" * 200)
    ...     _ = pathlib.Path(folder, "a.txt").write_text("first\\n" * 200)
    ...     text = read_files(folder, limit=2_000)
    >>> text.characters, text.train[:6]
    (2000, 'first\\n')
    """
    if limit is not None and limit < MINIMUM_CHARACTERS:
        raise ArgumentError(f"limit is {limit}; a training and a validation part need at least "
                            f"{MINIMUM_CHARACTERS:,} characters. Raise limit, or leave it out.")  # fmt: skip
    given = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
    if not given:
        raise DataError("read_files got no path. Name at least one file or folder.")
    skipped: list[str] = []
    pieces = list(_first(_pieces(given, skipped.append), limit))
    notes = []
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        notes.append(f"left out, as not readable as UTF-8 text: {', '.join(skipped[:5])}{more}")
    if limit is not None and sum(len(content) for _, content in pieces) == limit:
        notes.append(f"cut at the limit of {limit:,} characters")
    name = str(given[0]) + (f" and {len(given) - 1} more" if len(given) > 1 else "")
    return make_text(pieces, name=name, note="; ".join(notes))


def _pieces(given: list[Path], skip: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Yield (name, content) of every file, reading each only when it is asked for."""
    seen: set[Path] = set()
    for path in given:  # all of them first: a limit may end the reading before the last
        if not os.path.exists(path):
            raise DataError(f'"{path}" does not exist, or may not be seen (the working folder is {Path.cwd()}). '
                            "Check the spelling, or give the whole path.")  # fmt: skip
        if not os.path.isdir(path) and not os.path.isfile(path):
            raise DataError(f'"{path}" is neither a file nor a folder. Name a text file, or a folder of text files.')
    for path in given:
        if os.path.isdir(path):
            yield from _below(path, seen, skip)
        elif path.resolve() not in seen:
            seen.add(path.resolve())
            yield path.as_posix(), _read(path)


def _below(folder: Path, seen: set[Path], skip: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Yield the text files below a folder, sorted by their relative paths."""
    found = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: skip(str(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    any_text = False
    for path in sorted(found, key=lambda path: path.relative_to(folder).as_posix()):
        if not os.path.isfile(path):  # a pipe or a broken link: opening it could wait for ever
            continue
        if path.resolve() in seen:
            any_text = True
            continue
        seen.add(path.resolve())
        try:
            content = _read(path)
        except DataError:
            skip(path.as_posix())
            continue
        any_text = True
        yield path.as_posix(), content
    if not any_text:
        raise DataError(f'the folder "{folder}" has no UTF-8 text file below it (hidden files and folders do not '
                        "count). Name a folder with text files, or the files themselves.")  # fmt: skip


def _first(pieces: Iterable[tuple[str, str]], limit: int | None) -> list[tuple[str, str]]:
    """Keep the first `limit` characters of all the pieces together, and no empty piece."""
    kept = []
    left = limit
    for name, content in pieces:
        content = content[:left]
        if content:
            kept.append((name, content))
        if left is not None:
            left -= len(content)
            if left == 0:
                break
    return kept


def _read(path: Path) -> str:
    """Read UTF-8 text; DataError if the file cannot be read or is not text."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f'"{path}" is not UTF-8 text (byte {error.object[error.start]:#04x} at position '
                        f"{error.start}). Convert it to UTF-8, or leave it out.") from error  # fmt: skip
    except OSError as error:
        raise DataError(f'"{path}" cannot be read: {error.strerror}. Check its permissions, '
                        "or leave it out.") from error  # fmt: skip
    if "\0" in content:
        raise DataError(f'"{path}" contains NUL characters, so it is a binary file and no text. Leave it out.')
    content = content.replace("\r\n", "\n").replace("\r", "\n")
    # A file whose last line lacks its newline would run into the first line of the next file.
    return content if not content or content.endswith("\n") else content + "\n"
