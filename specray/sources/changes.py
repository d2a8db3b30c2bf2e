"""What became of the input between two manifests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from specray.sources.stores import Entry


class Change(StrEnum):
    """How a key differs from what it was."""

    ADDED = "added"
    CHANGED = "changed"  # another size or ETag
    REMOVED = "removed"


def compare(old: Iterable[Entry], new: Iterable[Entry]) -> Iterator[tuple[str, Change]]:
    """Yield the keys that differ, in order; memory does not grow with the manifests.

    Parameters
    ----------
    old, new
        Both sorted by key, each key once.
    """
    before, after = iter(old), iter(new)
    a, b = next(before, None), next(after, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a.key < b.key):
            assert a is not None
            yield a.key, Change.REMOVED
            a = next(before, None)
        elif a is None or b.key < a.key:
            yield b.key, Change.ADDED
            b = next(after, None)
        else:
            if a != b:
                yield b.key, Change.CHANGED
            a, b = next(before, None), next(after, None)
