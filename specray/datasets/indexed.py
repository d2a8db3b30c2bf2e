"""The dataset that all layouts are: a record of every image, and how to read its ground truth."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from specray.datasets.base import Kind, Truth, stem
from specray.errors import UserError

R = TypeVar("R")
"""What a layout notes of an image: the name of a file, or its annotations."""

Read = Callable[[R, Container[Kind]], Truth]
"""From a record to what is asked for; pickles."""


@dataclass(frozen=True)
class IndexedTruths(Generic[R]):
    """The records of some images; see `Truths`."""

    records: Mapping[str, R]
    """By the `stem` of the key."""
    read: Read[R]

    def of(self, key: str, wanted: Iterable[Kind]) -> Truth:
        """Read what is asked for; see `Truths.of`."""
        record = self.records.get(stem(key))
        if record is None:
            raise UserError(f"--truth has nothing of {key}; leave it out, or check --split")
        return self.read(record, frozenset(wanted))


def _nothing(record: object) -> None:
    """Most layouts name their images."""


@dataclass(frozen=True)
class IndexedDataset(Generic[R]):
    """A dataset that is indexed once, when it is first asked for its images; see `Dataset`."""

    kinds: frozenset[Kind]
    index: Callable[[], Iterable[tuple[str, R]]]
    """Keys and records, in any order."""
    read: Read[R]
    images: str | None = None
    categories: tuple[str, ...] = ()
    grouped: bool = False
    """The folder of an image is its sequence."""
    number_of: Callable[[R], int | None] = _nothing
    """The id of a record."""

    def keys(self) -> list[str]:
        """The keys of the index; see `Dataset.keys`."""
        return sorted(key for key, _ in self._records.values())

    def group(self, key: str) -> str | None:
        """The folder, if that means anything; see `Dataset.group`."""
        folder = str(PurePosixPath(key).parent)
        return folder if self.grouped and folder != "." else None

    def numbers(self) -> dict[int, str]:
        """The ids of the records; see `Dataset.numbers`."""
        numbered = ((self.number_of(record), key) for key, record in self._records.values())
        return {number: key for number, key in numbered if number is not None}

    def truths(self, keys: Sequence[str]) -> IndexedTruths[R]:
        """The records of some images; see `Dataset.truths`."""
        known = self._records
        records = {name: known[name][1] for name in map(stem, keys) if name in known}
        return IndexedTruths(records, self.read)

    @cached_property
    def _records(self) -> dict[str, tuple[str, R]]:
        records: dict[str, tuple[str, R]] = {}
        for key, record in self.index():
            first = records.setdefault(stem(key), (key, record))
            if first != (key, record):
                raise UserError(
                    f"--truth has two images of one name: {first[0]} and {key}, as suffixes do not "
                    "count; rename one, or take it out"
                )
        return records
