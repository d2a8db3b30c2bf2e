"""The points that classes are fitted to: all of them, or a uniform sample, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray
from ray.data import DataContext

from specray.errors import UserError
from specray.pipelines.cluster import data_context
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.labels.config import Source
from specray.pipelines.labels.points import columns_of, points_of
from specray.pipelines.progress import Progress
from specray.pipelines.tally import start_tally
from specray.seeds import derive_seed, mixed
from specray.sources import Store
from specray.tables.commit import read_shard

_BLOCKS: Final = 2000
"""Tasks that read the shards, at most: more only cost Ray's time."""

_ROWS: Final = 32
"""Rows whose points are made at a time: those of patches are large."""

_CHUNK: Final = 2**16
"""Points that are moved at a time."""


@dataclass(frozen=True)
class Sample:
    """Points of the dataset, in the order of its manifest.

    The sample is uniform, and depends on the seed, the keys and the number of points alone.
    """

    features: NDArray[np.float32]
    """(M, D)."""
    keys: pa.ChunkedArray
    """(M,) of their images."""
    index: NDArray[np.int64]
    """(M,) as in `Points`."""
    boxes: NDArray[np.float32] | None
    """(M, 4) of segments; None for patches."""


@dataclass(frozen=True)
class ReadPoints:
    """A block of names of shards to one of points.

    Parameters
    ----------
    store
        The output of the segment job.
    source, foreground
        As of `points_of`.
    seed
        Of the sample.
    below
        Points of a priority from here up are not in it.
    tally
        See `start_tally`.
    """

    store: Store
    source: Source
    foreground: bool
    seed: int
    below: int
    tally: Any

    def __call__(self, names: pa.Table) -> Iterator[pa.Table]:
        """Tables of some images each."""
        for name in names["item"].to_pylist():
            rows = read_shard(self.store, name, columns_of(self.source))
            if rows is None:
                raise UserError(f"{name} in {self.store.uri} is gone; run specray segment again")
            self.tally.add.remote(rows.num_rows, 0, 0)
            for start in range(0, rows.num_rows, _ROWS):
                yield self._sampled(rows.slice(start, _ROWS))

    def _sampled(self, rows: pa.Table) -> pa.Table:
        points = points_of(rows, self.source, self.foreground)
        seeds = [derive_seed(self.seed, key) for key in rows["key"].to_pylist()]
        priority = mixed(np.array(seeds, np.uint64)[points.rows], points.index)
        kept = np.flatnonzero(priority <= np.uint64(self.below))
        features, segments = points.features[kept], points.segments
        boxes = None if segments is None else pc.struct_field(segments.take(kept), "bbox")
        return pa.table(
            {
                "priority": priority[kept],
                "key": rows["key"].take(pa.array(points.rows[kept])),
                "index": points.index[kept],
                "bbox": pa.nulls(len(kept), pa.list_(pa.float32(), 4)) if boxes is None else boxes,
                # all of one length, but for a shard that has none
                "feature": pa.FixedSizeListArray.from_arrays(
                    features.ravel(), max(features.shape[1], 1)
                ).cast(pa.list_(pa.float16())),
            }
        )


def draw(
    store: Store,
    shards: Sequence[str],
    images: int,
    total: int,
    most: int,
    source: Source,
    *,
    foreground: bool,
    seed: int,
) -> Sample:
    """Read the features of a segment table, through Ray Data.

    Parameters
    ----------
    store, shards, images
        The output of the segment job, names of its shards in order, and how many images they have.
    total
        Points that it has.
    most
        Points to keep; memory for these is all that is taken.
    source, foreground
        As of `points_of`.
    seed
        Of the sample, where there are more.
    """
    # How many are below a priority varies: six deviations more than `most`, and room for another
    # six. Of all that come, the lowest are the sample.
    deviations = 6 * math.isqrt(most) + 6
    room = min(total, most + 3 * deviations)
    everything = 2**64 - 1
    below = everything if total <= most else int(everything * min(1, (most + deviations) / total))
    tally = start_tally(1)
    read = ReadPoints(store, source, foreground, seed, below, tally)
    with DataContext.current(data_context()):
        graph = ray.data.from_items(
            list(shards), override_num_blocks=min(len(shards), _BLOCKS)
        ).map_batches(read, batch_size=None, batch_format="pyarrow", num_cpus=1)
    with Progress(images, lambda: ray.get(tally.read.remote())), faults_as_user_errors():
        found = _Filling(room)
        for block in graph.iter_batches(batch_size=None, batch_format="pyarrow"):
            found.add(block)
    return found.sample(most)


class _Filling:
    """A sample while its points arrive."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._count = 0
        self._features: NDArray[np.float32] | None = None
        self._rest: list[pa.Table] = []

    def add(self, block: pa.Table) -> None:
        count = block.num_rows
        if not count:
            return
        features = pc.list_flatten(block["feature"]).combine_chunks().to_numpy()
        features = features.reshape(count, -1)
        if self._features is None:
            self._features = np.empty((self._room, features.shape[1]), np.float32)
        if features.shape[1] != self._features.shape[1]:
            raise UserError(
                f"the segment run has features of {self._features.shape[1]} and "
                f"{features.shape[1]} channels; segment all images with one backbone"
            )
        if self._count + count > self._room:
            raise RuntimeError(f"more than {self._room:,} points are below their priority")
        self._features[self._count : self._count + count] = features
        self._rest.append(block.drop_columns(["feature"]))
        self._count += count

    def sample(self, most: int) -> Sample:
        assert self._features is not None  # somebody has counted the points
        rest = pa.concat_tables(self._rest)
        features = self._features[: self._count]
        if self._count > most:
            priority = rest["priority"].to_numpy()
            kept = np.sort(np.argpartition(priority, most)[:most])
            rest = rest.take(pa.array(kept))
            for start in range(0, most, _CHUNK):  # in place: places only move to the front
                end = min(start + _CHUNK, most)
                features[start:end] = features[kept[start:end]]
            features = features[:most]
        boxes = None
        if rest["bbox"].null_count == 0:
            flat = pc.list_flatten(rest["bbox"]).combine_chunks().to_numpy()
            boxes = flat.reshape(-1, 4)
        return Sample(features, rest["key"], rest["index"].to_numpy(), boxes)
