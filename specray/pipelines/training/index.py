"""Where the images are that are trained on: groups of rows of the shards of a segment run."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.sources import Store
from specray.tables.groups import ShardGroups

_REQUESTS: Final = 16
"""Shards whose columns are read at a time."""


@dataclass(frozen=True)
class Group:
    """A group of rows of a shard."""

    shard: str
    number: int
    """Within the shard."""
    rows: NDArray[np.int32]
    """Places in the group of the images that are no errors."""


def index_of(store: Store, shards: Sequence[str]) -> list[Group]:
    """The groups of all shards, in order; groups of nothing but errors are left out.

    Parameters
    ----------
    store, shards
        The output of the segment job, and names of its shards in order.

    Raises
    ------
    UserError
        A shard is gone or damaged.
    """
    with ThreadPoolExecutor(_REQUESTS) as pool:
        found = pool.map(lambda name: _groups(store, name), shards)
        return [group for groups in found for group in groups]


def _groups(store: Store, name: str) -> list[Group]:
    shard = ShardGroups(store, name)
    found = []
    for number in range(len(shard.rows)):
        error = shard.read(number, ["error"])["error"].combine_chunks()
        rows = np.flatnonzero(error.is_null().to_numpy(zero_copy_only=False)).astype(np.int32)
        if len(rows):
            found.append(Group(name, number, rows))
    return found
