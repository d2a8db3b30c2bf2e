"""The plan of an export: which rows make which part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specray.tables.counts import ShardCounts
from specray.tables.shards import Shard


@dataclass(frozen=True)
class Slice:
    """Consecutive rows of a shard, and what is needed to number what they hold."""

    shard: str
    """Key of its file."""
    shard_rows: int
    shard_segments: int
    start: int
    """First row."""
    stop: int
    """One past the last row."""
    first_image: int
    """Id of the first image of the shard."""
    first_segment: int
    """Id of the first segment of the shard."""


def plan_parts(
    shards: Sequence[Shard],
    counts: Sequence[ShardCounts],
    sizes: Iterable[NDArray[np.int64]],
    part_images: int,
    part_bytes: int | None,
) -> list[list[Slice]]:
    """Gather shards into parts, and cut those whose photographs are more than a part may hold.

    Parameters
    ----------
    shards
        All shards of the run, in order.
    counts
        What each of them holds.
    sizes
        Bytes of the photographs of each of them, 0 where nobody knows.
    part_images
        Images of a part at most, but for a shard that has more; 1: every shard is a part.
    part_bytes
        Bytes of the photographs of a part at most, but for a photograph that has more; None: do
        not count.
    """
    parts: list[list[Slice]] = []
    images = weight = 0  # of the last part
    first_image = first_segment = 1
    for shard, count, of_shard in zip(shards, counts, sizes, strict=True):
        for start, stop, size in _cuts(of_shard, part_bytes):
            images, weight = images + stop - start, weight + size
            full = images > part_images or (part_bytes is not None and weight > part_bytes)
            if not parts or full:
                parts.append([])
                images, weight = stop - start, size
            numbers = (first_image, first_segment)
            parts[-1].append(Slice(shard.name, shard.rows, count.segments, start, stop, *numbers))
        first_image += shard.rows
        first_segment += count.segments
    return parts


def _cuts(sizes: NDArray[np.int64], limit: int | None) -> Iterator[tuple[int, int, int]]:
    """First row, one past the last row and bytes of each piece of a shard."""
    start = weight = 0
    for row, size in enumerate(sizes.tolist()):
        if limit is not None and row > start and weight + size > limit:
            yield start, row, weight
            start, weight = row, 0
        weight += size
    yield start, len(sizes), weight
