"""Crops of photographs with their labels, streamed by Ray Data to a worker of Ray Train.

What a batch is follows from the seed alone, see `specray.pipelines.training.order`. So every worker
has a stream of its own, of its lanes, and begins it where its checkpoint says, which Ray Data does
not know before the worker runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
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

LOAD_CPUS: Final = 0.5
"""Of a task that makes crops: it waits for the store half of its time."""
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
    share = lanes.batch // lanes.workers
    batches = steps - begin
    if batches <= 0:
        return
    context = data_context()
    # the workers have theirs; without this every stream would count on all of the cluster
    context.execution_options.exclude_resources = ExecutionResources(cpu=lanes.workers)
    with DataContext.current(context), faults_as_user_errors():
        places = ray.data.range(batches * share, override_num_blocks=batches)
        crops = places.map_batches(
            MakeCrops(plan, lanes, begin),
            batch_size=share,
            batch_format="numpy",
            num_cpus=LOAD_CPUS,
        )
        yield from crops.iter_batches(batch_size=share, batch_format="numpy", prefetch_batches=2)


@dataclass(frozen=True)
class MakeCrops:
    """A block of places of the stream of a worker to one of crops."""

    plan: CropPlan
    lanes: Lanes
    begin: int
    """Number of the first batch of the stream."""

    def __call__(self, places: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Crops of the images at these places."""
        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            made = list(pool.map(self._crop, places["id"].tolist()))
        found = {
            "image": np.stack([crop.image.numpy() for crop, _ in made]),
            "labels": np.stack([crop.labels.numpy() for crop, _ in made]),
            "seed": np.array([seed for _, seed in made], np.int64),
        }
        if self.plan.wants_confidence:
            confidences = [crop.confidence for crop, _ in made if crop.confidence is not None]
            found["confidence"] = np.stack([each.numpy() for each in confidences])
        return found

    def _crop(self, place: int) -> tuple[Sample, int]:
        plan, lanes = self.plan, self.lanes
        share = lanes.batch // lanes.workers
        number, lane = divmod(place, share)
        epoch, step = divmod(self.begin + number, plan.per_epoch)
        order = _order(plan, epoch)
        lane += lanes.own.start
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
