"""Moments of the features of a whole dataset, shard by shard through Ray Data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy, DataContext

from specray.pipelines.cluster import data_context
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.resources import ResourcePlan
from specray.pipelines.training.computed import ComputedFeatures
from specray.pipelines.training.pairs import Recomputed
from specray.pipelines.training.samples import MASK_COLUMNS, samples_of
from specray.semantics.prototypes.directions import Moments
from specray.sources import Store
from specray.tables.features import COLUMNS, features_of
from specray.tables.groups import ShardGroups


def kept_moments(store: Store, shards: Sequence[str]) -> Moments:
    """Of the features that a segment run has kept."""
    graph = ray.data.from_items(list(shards), override_num_blocks=len(shards))
    return _total(graph, fn=ReadMoments(store), num_cpus=1)


def computed_moments(
    store: Store, shards: Sequence[str], recomputed: Recomputed, cell: int, plan: ResourcePlan
) -> Moments:
    """Of features that are computed from the photographs.

    Parameters
    ----------
    store, shards
        The segment run, and its shards.
    recomputed
        How.
    cell
        Side in pixels of a cell of the grid of the run.
    plan
        How many actors, and where they compute.
    """
    graph = ray.data.from_items(list(shards), override_num_blocks=len(shards))
    return _total(
        graph,
        fn=ComputeMoments,
        fn_constructor_args=(store, recomputed, cell, plan.device),
        compute=ActorPoolStrategy(size=min(plan.actors, len(shards))),
        num_cpus=1,
        num_gpus=1 if plan.device == "cuda" else 0,
    )


def _total(graph: Any, **stage: Any) -> Moments:
    with DataContext.current(data_context()), faults_as_user_errors():
        found = graph.map_batches(batch_size=1, batch_format="pyarrow", **stage)
        blocks: Any = found.iter_batches(batch_size=None, batch_format="pyarrow")
        # in the order of the shards: sums of floats depend on theirs
        return _sum(_read(block, i) for block in blocks for i in range(block.num_rows))


class ReadMoments:
    """A block of names of shards to one of the moments of their kept features."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, names: pa.Table) -> pa.Table:
        """One row for each shard."""
        return _table(_sum(self._images(name)) for name in names["item"].to_pylist())

    def _images(self, name: str) -> Iterator[Moments]:
        shard = ShardGroups(self._store, name)
        columns = [column for column in COLUMNS if column != "views"]
        for group in range(len(shard.rows)):
            for image in features_of(shard.read(group, columns)):
                if image is not None:
                    yield Moments.of(image.image.astype(np.float64) * image.scale)


class ComputeMoments:
    """A block of names of shards to one of the moments of the features of their images."""

    def __init__(self, store: Store, recomputed: Recomputed, cell: int, device: str) -> None:
        torch.set_num_threads(1)
        self._store = store
        self._recomputed = recomputed
        self._cell = cell
        self._device = device

    @cached_property
    def _features(self) -> ComputedFeatures:
        # a fault here is one of the data, which faults_as_user_errors tells in one line
        return self._recomputed.pair(self._device)

    def __call__(self, names: pa.Table) -> pa.Table:
        """One row for each shard."""
        return _table(_sum(self._images(name)) for name in names["item"].to_pylist())

    def _images(self, name: str) -> Iterator[Moments]:
        shard = ShardGroups(self._store, name)
        for group in range(len(shard.rows)):
            rows = shard.read(group, [*MASK_COLUMNS, "error"])
            rows = rows.filter(rows["error"].is_null())
            for sample in samples_of(rows, self._cell, self._recomputed.image_size, kept=False):
                yield Moments.of(self._features.of_image(sample).double().numpy())


def _sum(parts: Iterable[Moments]) -> Moments:
    total = None
    for part in parts:
        if part.count:
            total = part if total is None else total + part
    return Moments(0, np.zeros(0), np.zeros((0, 0))) if total is None else total


def _table(rows: Iterable[Moments]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"count": each.count, "total": each.total, "outer": each.outer.ravel()} for each in rows]
    )


def _read(block: pa.Table, row: int) -> Moments:
    total: NDArray[np.float64] = np.array(block["total"][row].as_py(), np.float64)
    outer = np.array(block["outer"][row].as_py(), np.float64).reshape(len(total), -1)
    return Moments(block["count"][row].as_py(), total, outer)
