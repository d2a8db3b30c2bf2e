"""What a run would take, from a listing and a few images of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import pyarrow as pa
import torch

from specray.pipelines.blocks import LISTED
from specray.pipelines.cluster import cores
from specray.pipelines.config import SegmentConfig
from specray.pipelines.decoding import decoded_block, fetch, read_images
from specray.pipelines.segmenting import segment_block
from specray.pipelines.work import ImageEngine
from specray.sources import Entry, Store, cut
from specray.tables.commit import parquet_of

SAMPLE = 8
"""Images that are read and segmented to learn the speed."""


@dataclass(frozen=True)
class Estimate:
    """The outcome of ``--dry-run``."""

    images: int
    input_bytes: int
    shards: int
    sampled_images: int
    estimated_output_bytes: int
    estimated_seconds_on_this_machine: float
    estimated_cost: float | None
    """At `RunConfig.hourly_price`; None where nobody named one."""


def estimate(
    config: SegmentConfig,
    source: Store,
    engine: ImageEngine,
    patch_size: int,
    entries: Iterator[Entry],
    schema: pa.Schema,
) -> Estimate:
    """Count the images and time the first few of them, here, on one CPU thread per core.

    Rows are of `schema`. Writes nothing.
    """
    sample = list(islice(entries, SAMPLE))
    images, size, shards = 0, 0, 0
    for shard in cut(chain(sample, entries), config.run.shard_size):
        images += len(shard)
        size += sum(entry.size or 0 for entry in shard)
        shards += 1
    seconds, output_bytes = _measure(config, source, engine, patch_size, sample, schema)
    total, price = seconds * images / len(sample), config.run.hourly_price
    return Estimate(
        images=images,
        input_bytes=size,
        shards=shards,
        sampled_images=len(sample),
        estimated_output_bytes=round(output_bytes * images / len(sample)),
        estimated_seconds_on_this_machine=round(total, 1),
        estimated_cost=None if price is None else round(total / 3600 * price, 4),
    )


def _measure(
    config: SegmentConfig,
    source: Store,
    engine: ImageEngine,
    patch_size: int,
    sample: list[Entry],
    schema: pa.Schema,
) -> tuple[float, int]:
    """Seconds that this machine's cores need for the sample, and bytes of its rows."""
    listed = pa.Table.from_pylist([{"key": entry.key} for entry in sample], schema=LISTED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begin = time.monotonic()
        fetched = ((entry.key, fetch(source, entry.key)) for entry in sample)
        decoded = decoded_block(listed, read_images(config, patch_size, fetched))
        rows = segment_block(decoded, engine, schema)
        seconds = time.monotonic() - begin
    finally:
        torch.set_num_threads(threads)
    return seconds / cores(), len(parquet_of(rows))
