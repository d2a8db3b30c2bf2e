"""Crops of photographs with their labels, streamed by Ray Data to a worker of Ray Train.

What a batch is follows from the seed alone, see `specray.pipelines.training.order`. So every worker
has a stream of its own, of its lanes, and begins it where its checkpoint says, which Ray Data does
not know before the worker runs.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Final

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.data import DataContext, ExecutionResources

from specray.errors import ImageError, UserError
from specray.pipelines.cluster import data_context
from specray.pipelines.decoding import fetch
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.labelled import COLUMNS, label_map
from specray.pipelines.revisiting import FETCH_THREADS
from specray.pipelines.training.index import Group
from specray.pipelines.training.order import Epoch, shuffled
from specray.pipelines.training.stream import Lanes
from specray.semantics.segmenter.augment import Sample, augment, draw_augmentation
from specray.semantics.segmenter.config import SegmenterConfig
from specray.sources import Store, decode
from specray.tables.groups import ShardGroups
from specray.tables.rows import Row

_BLOCK: Final = 64
"""Images that are handed over at a time, if a batch has not more: every block has its price."""
_GROUPS: Final = 4
"""Groups of rows of labels that a process keeps."""


@dataclass(frozen=True)
class CropPlan:
    """Where crops are made of."""

    labels: Store
    groups: Sequence[Group]
    """The labelled images, among the shards of the labels."""
    images: Store
    ids: tuple[int, ...]
    with_confidence: bool
    """Whether the confidence of every pixel was stored."""
    training: SegmenterConfig
    seed: int
    max_pixels: int

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return sum(len(group.rows) for group in self.groups) // self.training.batch

    @property
    def wants_confidence(self) -> bool:
        """Whether anything depends on it."""
        return self.training.confidence_weights or self.training.min_confidence > 0


def crop_batches(plan: CropPlan, lanes: Lanes, begin: int, steps: int) -> Iterator[dict[str, Any]]:
    """The batches of a worker, from number `begin` up to `steps`.

    Yields
    ------
    dict
        ``image`` (B, 3, S, S) uint8, ``labels`` (B, S, S) uint8, ``seed`` (B,) int64, and, if it is
        wanted, ``confidence`` (B, S, S) float32.

    Raises
    ------
    UserError
        A photograph cannot be read any more, or is another.
    """
    share = len(lanes.places)
    if begin >= steps:
        return
    context = data_context()
    # the workers have theirs; without this every stream would count on all of the cluster
    context.execution_options.exclude_resources = ExecutionResources(cpu=lanes.workers)
    with DataContext.current(context), faults_as_user_errors():
        # numbers are at hand without any task, which would want a CPU of its own
        together = max(_BLOCK // share, 1)
        numbers = ray.data.from_items(
            list(range(begin, steps)), override_num_blocks=math.ceil((steps - begin) / together)
        )
        # actors, for Ray ends idle processes of tasks, and each would import torch again
        pool, cpus = _loaders(lanes.workers)
        crops = numbers.map_batches(
            MakeCrops,
            fn_constructor_args=(plan, lanes),
            batch_size=None,
            batch_format="numpy",
            compute=pool,
            num_cpus=cpus,
        )
        yield from crops.iter_batches(batch_size=share, batch_format="numpy", prefetch_batches=2)


def _loaders(workers: int) -> tuple[ray.data.ActorPoolStrategy, int]:
    """The processes that load for a worker, and the CPUs of each.

    They share what the workers leave of the cluster. Where that is less than a CPU for each they
    ask for none: a training whose loaders find no room would wait for ever.
    """
    spare = int(ray.cluster_resources().get("CPU", 0)) - workers
    most = spare // workers
    if most < 1:
        return ray.data.ActorPoolStrategy(size=1), 0
    return ray.data.ActorPoolStrategy(min_size=1, max_size=most), 1


@dataclass(frozen=True)
class MakeCrops:
    """Numbers of batches to the crops that a worker has of them."""

    plan: CropPlan
    lanes: Lanes

    def __call__(self, numbers: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """The crops of some batches, one batch after the other."""
        wanted = list(product(numbers["item"].tolist(), self.lanes.places))
        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            made = list(pool.map(self._crop, *zip(*wanted, strict=True)))
        found = {
            "image": np.stack([crop.image.numpy() for crop, _ in made]),
            "labels": np.stack([crop.labels.numpy() for crop, _ in made]),
            "seed": np.array([seed for _, seed in made], np.int64),
        }
        if self.plan.wants_confidence:
            confidences = [crop.confidence for crop, _ in made if crop.confidence is not None]
            found["confidence"] = np.stack([each.numpy() for each in confidences])
        return found

    def _crop(self, number: int, lane: int) -> tuple[Sample, int]:
        plan = self.plan
        epoch, step = divmod(number, plan.per_epoch)
        order = _order(plan, epoch)
        group = plan.groups[int(order.group[lane, step])]
        row = _row(plan, group, int(order.row[lane, step]))
        pixels = self._pixels(row)
        labels, confidence = label_map(row, plan.ids, confidence=plan.wants_confidence)
        drawn = draw_augmentation(plan.seed, epoch, row["key"], labels.shape, plan.training)
        return augment(drawn, pixels, labels, confidence), drawn.seed

    def _pixels(self, row: Row) -> NDArray[np.uint8]:
        key, plan = row["key"], self.plan
        blob = fetch(plan.images, key)
        try:
            if isinstance(blob, ImageError):
                raise blob
            pixels = decode(blob.data, max_pixels=plan.max_pixels).pixels
        except ImageError as error:
            raise UserError(
                f"cannot read {key} of {plan.images.uri} again ({error.message}); label or predict "
                "again, then run this command"
            ) from None
        if pixels.shape[:2] != (row["height"], row["width"]):
            raise UserError(
                f"{key} of {plan.images.uri} has changed since it was labelled; label or predict "
                "again, then run this command"
            )
        return pixels


# What follows is kept by the process, which makes many blocks one after the other.


@lru_cache(maxsize=2)
def _shuffled(sizes: tuple[int, ...], batch: int, seed: int, epoch: int) -> Epoch:
    return shuffled(sizes, batch, seed, epoch)


def _order(plan: CropPlan, epoch: int) -> Epoch:
    sizes = tuple(len(group.rows) for group in plan.groups)
    return _shuffled(sizes, plan.training.batch, plan.seed, epoch)


_read: OrderedDict[tuple[str, str, int, bool], pa.Table] = OrderedDict()


def _row(plan: CropPlan, group: Group, number: int) -> Row:
    """A labelled image of a group."""
    name = (plan.labels.uri, group.shard, group.number, plan.wants_confidence)
    table = _read.get(name)
    if table is None:
        more = ["confidence"] if plan.wants_confidence and plan.with_confidence else []
        table = ShardGroups(plan.labels, group.shard).read(group.number, [*COLUMNS, *more])
        _read[name] = table
        while len(_read) > _GROUPS:
            _read.popitem(last=False)
    (row,) = table.slice(int(group.rows[number]), 1).to_pylist()
    found: Row = row
    return found
