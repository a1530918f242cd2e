"""What a corpus is: two texts, to train on and to validate with, and where they came from."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import DataError

MINIMUM_CHARACTERS = 1_000  # below this a validation part says nothing
VALIDATION_PERCENT = 8


@dataclass(frozen=True)
class Text:
    """A corpus with its fixed split.

    Attributes
    ----------
    train, validation : str
        The two parts. Newlines are ``\\n``.
    name : str
        What the corpus is, in a few words.
    sha256 : str
        SHA-256 of ``train + validation`` in UTF-8, as 64 hexadecimal digits. Two runs with equal hashes
        saw the same characters in the same split, so their bits per character can be compared.
    files : tuple of str
        The files whose text is used, in order.
    note : str
        What the reader of a result should know (files that were missing or skipped); usually empty.

    Examples
    --------
    >>> text = make_text([("poem", "a rose is a rose\\n" * 100)], name="poem")
    >>> text.characters, len(text.validation)
    (1700, 136)
    >>> text.sha256[:8], text.files
    ('d9f9b060', ('poem',))
    """

    train: str = field(repr=False)
    validation: str = field(repr=False)
    name: str
    sha256: str
    files: tuple[str, ...] = ()
    note: str = ""

    @property
    def characters(self) -> int:
        """Number of characters of both parts together."""
        return len(self.train) + len(self.validation)


def make_text(pieces: Iterable[tuple[str, str]], name: str, note: str = "") -> Text:
    """Split every piece and join the parts.

    Parameters
    ----------
    pieces : iterable of (file name, content)
        Contents with newlines ``\\n``.
    name, note : str
        Passed on to the `Text`.

    Raises
    ------
    DataError
        If the text is empty, or too short for a training part and a validation part.
    """
    pieces = list(pieces)
    parts = [split(content) for _, content in pieces]
    train = "".join(part[0] for part in parts)
    validation = "".join(part[1] for part in parts)
    total = len(train) + len(validation)
    if not (train.strip() or validation.strip()):
        raise DataError(f"{name} holds no text: it is empty or blank. Give a file with at least "
                        f"{MINIMUM_CHARACTERS:,} characters.")  # fmt: skip
    if total < MINIMUM_CHARACTERS:
        raise DataError(f"{name} has {total:,} characters; a training and a validation part need at least "
                        f"{MINIMUM_CHARACTERS:,}. Give a longer text, or more files.")  # fmt: skip
    if 100 * len(validation) < total:
        raise DataError(f"{name} consists of {len(pieces):,} files too small to keep the last "
                        f"{VALIDATION_PERCENT} % of each for validation. Join them into one file.")  # fmt: skip
    digest = hashlib.sha256((train + validation).encode("utf-8")).hexdigest()
    return Text(train, validation, name, digest, tuple(file for file, _ in pieces), note)


def split(content: str) -> tuple[str, str]:
    """Cut off the validation part: the last 8 % of the characters, begun at the start of a line.

    The cut moves back to the nearest line end, but by no more than another 8 %: a text with very long
    lines is cut inside a line.

    >>> train, validation = split("one line\\n" * 100)
    >>> len(train), len(validation), validation[:9]
    (828, 72, 'one line\\n')
    """
    share = len(content) * VALIDATION_PERCENT // 100
    cut = len(content) - share
    after_newline = content.rfind("\n", cut - share, cut) + 1
    cut = after_newline or cut
    return content[:cut], content[cut:]
