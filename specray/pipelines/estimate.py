"""What a run would take, from a listing and a few images of it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from specray.backbones import Backbone
from specray.pipelines.cluster import cores
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.stages import LISTED, Decode, segment_rows
from specray.sources import Entry, Store
from specray.tables.rows import table_of

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


def estimate(
    config: SegmentConfig, source: Store, backbone: Backbone, entries: Iterator[Entry]
) -> Estimate:
    """Count the images and time the first few of them, here, on one CPU thread per core.

    Writes nothing.
    """
    sample = list(islice(entries, SAMPLE))
    images, size = len(sample), sum(entry.size or 0 for entry in sample)
    for entry in entries:
        images += 1
        size += entry.size or 0
    seconds, output_bytes = _measure(config, source, backbone, sample)
    return Estimate(
        images=images,
        input_bytes=size,
        shards=-(-images // config.run.shard_size),
        sampled_images=len(sample),
        estimated_output_bytes=round(output_bytes * images / len(sample)),
        estimated_seconds_on_this_machine=round(seconds * images / len(sample), 1),
    )


def _measure(
    config: SegmentConfig, source: Store, backbone: Backbone, sample: list[Entry]
) -> tuple[float, int]:
    """Seconds that this machine's cores need for the sample, and bytes of its rows."""
    columns = [[e.key for e in sample], [e.size for e in sample], [e.etag for e in sample]]
    listed = pa.table([*columns, [0] * len(sample)], schema=LISTED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begin = time.monotonic()
        decoded = Decode(source, config, backbone.patch_size)(listed)
        rows = segment_rows(decoded, Engine(config, backbone, "cpu"))
        seconds = time.monotonic() - begin
    finally:
        torch.set_num_threads(threads)
    buffer = io.BytesIO()
    pq.write_table(table_of(rows), buffer, compression="zstd")
    return seconds / cores(), buffer.tell()
