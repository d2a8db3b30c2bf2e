"""Sums over the images of a label or predict run, shard by shard on Ray Data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.data import DataContext

from specray.pipelines.cluster import data_context
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.labelled import COLUMNS
from specray.pipelines.progress import Progress
from specray.sources import Store
from specray.tables.groups import ShardGroups
from specray.tables.rows import Row

Task = dict[str, Any]
"""What is to be done with a shard: ``images`` that it has, and what the function needs to know."""


def summed(
    tasks: Sequence[Task], matrix_of: Callable[[Task], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """The sum of the matrices of some shards; integers, so their order does not matter.

    Parameters
    ----------
    tasks
        One per shard; there is one at least.
    matrix_of
        Of a task.

    Raises
    ------
    UserError
        That of a task.
    """
    done = 0

    def one(task: Task) -> Task:
        return {"matrix": matrix_of(task), "images": task["images"]}

    total = sum(task["images"] for task in tasks)
    found: NDArray[np.int64] | None = None
    with (
        DataContext.current(data_context()),
        faults_as_user_errors(),
        Progress(total, lambda: (done, 0)),
    ):
        shards = ray.data.from_items(list(tasks), override_num_blocks=len(tasks))
        for row in shards.map(one).iter_rows():
            found = row["matrix"] if found is None else found + row["matrix"]
            done += row["images"]
    assert found is not None
    return found


def label_rows(store: Store, shard: str) -> Iterator[Row]:
    """The rows of a shard of label maps, good and bad, a group at a time."""
    groups = ShardGroups(store, shard)
    for group in range(len(groups.rows)):
        yield from groups.read(group, [*COLUMNS, "error"]).to_pylist()
