"""Names of files for the keys of images: readable, and safe and unique on every store."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

ODD: Final = "odd/"
"""Folder of the images whose keys are not plain."""

_MAX_COMPONENT: Final = 200
_MAX_STEM: Final = 600
"""Bytes; file systems take 255 of a component, S3 1,024 of a key with its prefix."""

_RESERVED: Final = frozenset('<>:"|?*\\')
"""Printable, but not for Windows; HDFS has no colon either."""

_TAGGED: Final = re.compile(r"~[0-9a-f]{16}$")
_LIKE_A_FILE: Final = re.compile(r"\.(png|txt)$", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """Stems of the files of images.

    A plain key keeps its path: ``a/b.jpg`` is ``a/b``. Where several plain keys would get one
    name, also where a file system does not tell case or Unicode forms apart (``x.jpg``, ``x.png``,
    ``X.JPG``), each has a digest of its key behind it: ``x~8f14e45fceea167a``. The same with what
    is left of a key that is not plain, in `ODD`.

    Parameters
    ----------
    shared
        Sorted digests of the stems that several keys have, see `StemCounter`.
    """

    shared: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    def stem(self, key: str) -> str:
        """Path of an image's files without suffix."""
        plain = plain_stem(key)
        if plain is None:
            return f"{ODD}{_legible(key)}~{_tag(key)}"
        return f"{plain}~{_tag(key)}" if self._is_shared(plain) else plain

    def own_stem(self, key: str) -> str | None:
        """The path of the key without its suffix; None where `stem` is another."""
        plain = plain_stem(key)
        return None if plain is None or self._is_shared(plain) else plain

    def _is_shared(self, stem: str) -> bool:
        place = np.searchsorted(self.shared, digest := _digest(stem))
        return bool(place < len(self.shared) and self.shared[place] == digest)


class StemCounter:
    """Finds the stems that several keys have; memory is 8 bytes per key."""

    def __init__(self) -> None:
        self._digests: list[NDArray[np.uint64]] = []

    def add(self, keys: Iterable[str]) -> None:
        """Take in keys; each key once."""
        stems = (plain_stem(key) for key in keys)
        self._digests.append(np.array([_digest(s) for s in stems if s is not None], np.uint64))

    def names(self) -> Names:
        """Names for the keys that were added. Two stems of one digest are merely less readable."""
        everything = np.concatenate([np.empty(0, np.uint64), *self._digests])
        digests, counts = np.unique(everything, return_counts=True)
        return Names(digests[counts > 1])


def plain_stem(key: str) -> str | None:
    """A key without the suffix of its name; None if files cannot be called like it everywhere.

    Examples
    --------
    >>> plain_stem("a/b.jpg"), plain_stem("a/b.c.jpg"), plain_stem("../b.jpg")
    ('a/b', 'a/b.c', None)
    """
    *folders, name = key.split("/")
    stem = name.rpartition(".")[0] or name
    parts = [*folders, stem]
    path = "/".join(parts)
    fits = len(path.encode("utf-8", "replace")) <= _MAX_STEM
    # a folder must not be called like a file of another image, a stem not like one with a digest
    clear = not _TAGGED.search(stem) and not any(map(_LIKE_A_FILE.search, folders))
    return path if fits and clear and all(map(_is_plain, parts)) else None


def _is_plain(component: str) -> bool:
    return (
        component.isprintable()
        and component == component.strip(" ")
        and not component.startswith((".", "~"))
        and not component.endswith(".")
        and _RESERVED.isdisjoint(component)
        and 0 < len(component.encode()) <= _MAX_COMPONENT
    )


def _digest(stem: str) -> int:
    """Of a stem as the most forgiving file system sees it."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())
    return int.from_bytes(hashlib.blake2b(folded.encode(), digest_size=8).digest(), "big")


def _tag(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _legible(key: str) -> str:
    """What is left of the last part of a key for people to recognise."""
    stem = key.rstrip("/").rpartition("/")[2].rpartition(".")[0]
    return re.sub(r"[^A-Za-z0-9]+", "-", stem)[:60].strip("-") or "image"
