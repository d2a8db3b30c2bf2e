"""What a run would take, from its whole listing and a few images of it."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Final

import pyarrow as pa
import torch

from specray.pipelines.blocks import LISTED
from specray.pipelines.cluster import cores
from specray.pipelines.config import SegmentConfig
from specray.pipelines.decoding import FETCH_THREADS, decoded_block, fetch, read_images
from specray.pipelines.segmenting import segment_block
from specray.pipelines.work import ImageEngine
from specray.seeds import derive_seed
from specray.sources import Entry, Store, cut
from specray.tables.commit import parquet_of

SAMPLE: Final = 8
"""Images that are read and segmented to learn the speed."""


@dataclass(frozen=True)
class Estimate:
    """The outcome of ``--dry-run``."""

    images: int
    input_bytes: int
    suffixes: dict[str, int]
    """Images by the ends of their names."""
    first_key: str
    last_key: str
    largest_bytes: int
    """Of one image."""
    shards: int
    sampled_images: int
    seconds_per_image: dict[str, float]
    """On one core of this machine: ``read`` waits for the store, ``decode``, ``segment`` is what
    GPUs make fast, ``masks`` stays with the CPUs."""
    estimated_output_bytes: int
    estimated_seconds_on_this_machine: float
    """On its CPUs."""
    estimated_cost: float | None
    """At `RunConfig.hourly_price`; None where nobody named one."""


@dataclass
class _Listing:
    """What a listing holds, and a few of its images by the draw of their keys."""

    seed: int
    images: int = 0
    bytes: int = 0
    shards: int = 0
    largest: int = 0
    first: str = ""
    last: str = ""
    suffixes: Counter[str] = field(default_factory=Counter)
    drawn: list[tuple[int, str]] = field(default_factory=list)

    def add(self, shard: list[Entry]) -> None:
        self.first = self.first or shard[0].key
        self.last = shard[-1].key
        self.images += len(shard)
        self.shards += 1
        sizes = [entry.size or 0 for entry in shard]
        self.bytes += sum(sizes)
        self.largest = max(self.largest, *sizes)
        self.suffixes.update(PurePosixPath(entry.key).suffix.lower() for entry in shard)
        draws = ((derive_seed(self.seed, entry.key), entry.key) for entry in shard)
        self.drawn = heapq.nsmallest(SAMPLE, [*self.drawn, *draws])


def estimate(
    config: SegmentConfig,
    source: Store,
    engine: ImageEngine,
    patch_size: int,
    entries: Iterator[Entry],
    schema: pa.Schema,
) -> Estimate:
    """Count the images and time some of them, here, each on one CPU thread.

    Rows are of `schema`. Writes nothing.
    """
    listing = _Listing(config.seed)
    for shard in cut(entries, config.run.shard_size):
        listing.add(shard)
    sample = [key for _, key in listing.drawn]
    seconds, output_bytes = _measure(config, source, engine, patch_size, sample, schema)
    # requests of a task overlap
    busy = sum(seconds.values()) - seconds["read"] * (1 - 1 / FETCH_THREADS)
    total, price = busy * listing.images / cores(), config.run.hourly_price
    return Estimate(
        images=listing.images,
        input_bytes=listing.bytes,
        suffixes=dict(listing.suffixes.most_common()),
        first_key=listing.first,
        last_key=listing.last,
        largest_bytes=listing.largest,
        shards=listing.shards,
        sampled_images=len(sample),
        seconds_per_image={name: round(value, 4) for name, value in seconds.items()},
        estimated_output_bytes=round(output_bytes * listing.images),
        estimated_seconds_on_this_machine=round(total, 1),
        estimated_cost=None if price is None else round(total / 3600 * price, 4),
    )


def _measure(
    config: SegmentConfig,
    source: Store,
    engine: ImageEngine,
    patch_size: int,
    sample: list[str],
    schema: pa.Schema,
) -> tuple[dict[str, float], float]:
    """Seconds of an image by stages, and bytes of its row."""
    listed = pa.Table.from_pylist([{"key": key} for key in sample], schema=LISTED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _segmented(config, source, engine, patch_size, listed[:1], schema)  # compiles, if need be
        rows, seconds = _segmented(config, source, engine, patch_size, listed, schema)
    finally:
        torch.set_num_threads(threads)
    parts = {name: value / len(sample) for name, value in seconds.items()}
    return parts, len(parquet_of(rows)) / len(sample)


def _segmented(
    config: SegmentConfig,
    source: Store,
    engine: ImageEngine,
    patch_size: int,
    listed: pa.Table,
    schema: pa.Schema,
) -> tuple[pa.Table, dict[str, float]]:
    """The rows of a block of `LISTED`, and the seconds of each stage."""
    before = engine.mask_seconds
    clock = [time.monotonic()]
    fetched = [(key, fetch(source, key)) for key in listed["key"].to_pylist()]
    clock.append(time.monotonic())
    decoded = decoded_block(listed, read_images(config, patch_size, fetched))
    clock.append(time.monotonic())
    rows = segment_block(decoded, engine, schema)
    clock.append(time.monotonic())
    read, decode, segment = (b - a for a, b in pairwise(clock))
    masks = engine.mask_seconds - before
    return rows, {"read": read, "decode": decode, "segment": segment - masks, "masks": masks}
