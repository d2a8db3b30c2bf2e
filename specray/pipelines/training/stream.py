"""The batches of a worker: its lanes of the order, read ahead of the training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from specray.pipelines.training.alternatives import Alternative
from specray.pipelines.training.index import Group
from specray.pipelines.training.order import Epoch, shuffled
from specray.pipelines.training.samples import (
    MASK_COLUMNS,
    KeptFeatures,
    Pair,
    Sample,
    batched,
    draw,
    samples_of,
)
from specray.pipelines.truth import TruthMaps
from specray.semantics.prototypes.em import Images
from specray.sources import Store
from specray.tables.groups import ShardGroups

_MEMORY: Final = 4 * 2**30
"""Bytes of groups that a worker keeps; more if its lanes need more at a time."""


@dataclass(frozen=True)
class Lanes:
    """The part of every batch that a worker has."""

    rank: int
    workers: int
    batch: int

    @property
    def places(self) -> range:
        """In a batch; of several workers in their order."""
        first, last = (number * self.batch // self.workers for number in (self.rank, self.rank + 1))
        return range(first, last)

    @property
    def own(self) -> slice:
        """The same, to cut with."""
        return slice(self.places.start, self.places.stop)


@dataclass
class TrainingStream:
    """Batches by their number, of the features and proposals of a segment run.

    What batch `n` is depends on the seed alone: neither on the number of workers, nor on which
    batches came before.

    Parameters
    ----------
    store
        The output of the segment job.
    groups
        Where its images are.
    seed
        Of the run.
    lanes
        Of this worker.
    pair
        Gives features.
    cell, image_size
        Of the segment run.
    alternatives
        Further sets of proposals.
    truth
        True classes, where something is to be diagnosed.
    """

    store: Store
    groups: Sequence[Group]
    seed: int
    lanes: Lanes
    pair: Pair
    cell: int
    image_size: int | None
    alternatives: Sequence[Alternative] = ()
    truth: TruthMaps | None = None
    _epochs: dict[int, Epoch] = field(default_factory=dict, init=False)
    _kept: OrderedDict[int, list[Sample]] = field(default_factory=OrderedDict, init=False)
    _bytes: dict[int, int] = field(default_factory=dict, init=False)
    _files: dict[str, ShardGroups] = field(default_factory=dict, init=False)
    _ahead: dict[int, Future[list[Images]]] = field(default_factory=dict, init=False)
    _reader: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "training-stream"), init=False
    )

    def batch(self, number: int) -> list[Images]:
        """The images of this worker in a batch; the next one is read meanwhile."""
        found = self._ahead.pop(number, None) or self._reader.submit(self._batch, number)
        images = found.result()
        if number + 1 not in self._ahead:
            self._ahead[number + 1] = self._reader.submit(self._batch, number + 1)
        return images

    def close(self) -> None:
        """Stop reading ahead."""
        self._reader.shutdown(cancel_futures=True)

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return sum(len(group.rows) for group in self.groups) // self.lanes.batch

    def _batch(self, number: int) -> list[Images]:
        epoch, step = divmod(number, self.per_epoch)
        if epoch not in self._epochs:
            sizes = [len(group.rows) for group in self.groups]
            self._epochs = {epoch: shuffled(sizes, self.lanes.batch, self.seed, epoch)}
        order, own = self._epochs[epoch], self.lanes.own
        places = zip(order.group[own, step].tolist(), order.row[own, step].tolist(), strict=True)
        samples = [self._group(group)[row] for group, row in places]
        draws = [draw(self.seed, epoch, sample.key) for sample in samples]
        return batched(samples, draws, self.pair, self.cell)

    def _group(self, number: int) -> list[Sample]:
        if number not in self._kept:
            self._kept[number], self._bytes[number] = self._read(self.groups[number])
            share = self.lanes.batch // self.lanes.workers
            while len(self._kept) > share and sum(self._bytes.values()) > _MEMORY:
                oldest, _ = self._kept.popitem(last=False)
                del self._bytes[oldest]
        self._kept.move_to_end(number)
        return self._kept[number]

    def _read(self, group: Group) -> tuple[list[Sample], int]:
        if group.shard not in self._files:
            self._files[group.shard] = ShardGroups(self.store, group.shard)
        columns = list(dict.fromkeys((*MASK_COLUMNS, *self.pair.columns)))
        file = self._files[group.shard]
        rows = file.read(group.number, columns)
        begin = sum(file.rows[: group.number])
        others = [
            each.rows(group.shard, begin, rows.num_rows, list(MASK_COLUMNS))
            for each in self.alternatives
        ]
        if len(group.rows) < rows.num_rows:  # else nothing is copied
            rows, *others = (each.take(pa.array(group.rows)) for each in (rows, *others))
        kept = isinstance(self.pair, KeptFeatures)
        samples = samples_of(rows, self.cell, self.image_size, kept, others, self.truth)
        return samples, rows.nbytes + sum(sample.proposals.nbytes for sample in samples)
