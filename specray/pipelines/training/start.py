"""Where the prototypes begin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from ray.data import DataContext
from torch import Tensor

from specray.errors import UserError
from specray.pipelines.cluster import data_context
from specray.pipelines.derived import SegmentRun
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.labels.sampling import draw
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.pipelines.training.index import Group
from specray.seeds import derive_seed
from specray.semantics.prototypes.directions import Moments, principal_directions
from specray.semantics.prototypes.proposal_kmeans import proposal_prototypes
from specray.sources import Store
from specray.tables.counts import ShardCounts
from specray.tables.features import COLUMNS, features_of
from specray.tables.groups import ShardGroups

MOST_POINTS = 1_000_000
"""Proposals that are clustered; a uniform sample where there are more."""


def start(config: TrainPrimapsConfig, run: SegmentRun, groups: Sequence[Group]) -> Tensor:
    """Initial prototypes of all runs.

    Parameters
    ----------
    config
        Which start, how many runs.
    run
        The segment run.
    groups
        Where its images are.

    Returns
    -------
    (R, K, C) float64.

    Raises
    ------
    UserError
        There are fewer proposals or channels than classes.
    """
    if config.em.start == "proposals":
        return torch.from_numpy(_of_proposals(config, run))
    return torch.from_numpy(_of_directions(config, run.store, groups))


def _of_proposals(config: TrainPrimapsConfig, run: SegmentRun) -> NDArray[np.float64]:
    """Spherical k-means of the mean features of proposals, whatever the sizes of these."""
    total = sum(run.counts.values(), ShardCounts()).points.get("primap", 0)
    images = sum(shard.rows for shard in run.shards)
    names = [shard.name for shard in run.shards]
    most = MOST_POINTS
    sample = draw(
        run.store, names, images, total, most, "primaps", foreground=False, seed=config.seed
    )
    print(
        f"clustering {len(sample.features):,} proposals into {config.em.classes} prototypes",
        file=sys.stderr,
    )
    seeds = [derive_seed(config.seed, f"run {number}") for number in range(config.runs)]
    return proposal_prototypes(sample.features, config.em.classes, seeds)


def _of_directions(
    config: TrainPrimapsConfig, store: Store, groups: Sequence[Group]
) -> NDArray[np.float64]:
    """Principal directions of the kept features; runs but the first have signs by chance."""
    shards = list(dict.fromkeys(group.shard for group in groups))
    read = ReadMoments(store)
    with DataContext.current(data_context()), faults_as_user_errors():
        graph = ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
            read, batch_size=1, batch_format="pyarrow", num_cpus=1
        )
        blocks: Any = graph.iter_batches(batch_size=None, batch_format="pyarrow")
        # in the order of the shards: sums of floats depend on theirs
        parts = [_moments(block, i) for block in blocks for i in range(block.num_rows)]
    total = sum(parts[1:], parts[0])
    try:
        directions = principal_directions(total, config.em.classes)
    except ValueError as error:
        raise UserError(str(error)) from None
    signs = np.ones((config.runs, config.em.classes, 1))
    for run_number in range(1, config.runs):
        random = np.random.default_rng(derive_seed(config.seed, f"run {run_number}"))
        signs[run_number, :, 0] = random.choice([-1, 1], config.em.classes)
    return signs * directions


class ReadMoments:
    """A block of names of shards to one of the moments of their features."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, names: pa.Table) -> pa.Table:
        """One row for each shard."""
        rows = [self._of_shard(name) for name in names["item"].to_pylist()]
        return pa.Table.from_pylist(
            [
                {"count": each.count, "total": each.total, "outer": each.outer.ravel()}
                for each in rows
            ]
        )

    def _of_shard(self, name: str) -> Moments:
        shard = ShardGroups(self._store, name)
        found: list[Moments] = []
        columns = [column for column in COLUMNS if column != "views"]
        for group in range(len(shard.rows)):
            for image in features_of(shard.read(group, columns)):
                if image is not None:
                    found.append(Moments.of(image.image.astype(np.float64) * image.scale))
        if not found:
            return Moments(0, np.zeros(0), np.zeros((0, 0)))
        return sum(found[1:], found[0])


def _moments(block: pa.Table, row: int) -> Moments:
    total = np.array(block["total"][row].as_py())
    outer = np.array(block["outer"][row].as_py()).reshape(len(total), -1)
    return Moments(block["count"][row].as_py(), total, outer)
