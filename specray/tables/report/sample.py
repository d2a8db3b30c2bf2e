"""A bounded choice of rows that does not depend on the order in which they come."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from specray.seeds import derive_seed
from specray.tables.rows import Row

Rank = tuple[Any, ...]


class Smallest:
    """Keeps the rows of smallest rank.

    Ranked by a hash of the key, they are a random sample without replacement.

    Parameters
    ----------
    size
        How many to keep.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[tuple[Rank, Row]] = []

    @property
    def rows(self) -> list[Row]:
        """The rows by rising rank."""
        return [row for _, row in self._kept]

    def offer(self, ranks: Sequence[Rank], table: pa.Table) -> None:
        """Consider the rows of a table.

        Parameters
        ----------
        ranks
            One per row, no two alike.
        table
            Only rows that are kept become Python objects.
        """
        for position, rank in enumerate(ranks):
            if len(self._kept) < self._size or (self._kept and rank < self._kept[-1][0]):
                row = table.slice(position, 1).to_pylist()[0]
                insort(self._kept, (rank, row), key=lambda kept: kept[0])
                del self._kept[self._size :]


def ranks_of(rows: pa.Table) -> list[Rank]:
    """Order of a random draw that everybody makes alike."""
    return [(derive_seed(0, key), key) for key in rows["key"].to_pylist()]
