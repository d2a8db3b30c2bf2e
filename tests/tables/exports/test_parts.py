"""Parts cover all rows once, in order, within their bounds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from specray.tables.counts import ShardCounts
from specray.tables.exports import Slice, plan_parts
from specray.tables.shards import Shard

SIZES = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=6))


def plan(sizes: list[list[int]], part_images: int, part_bytes: int | None) -> list[list[Slice]]:
    shards = [Shard(i, "part", i, len(rows), f"shards/{i}") for i, rows in enumerate(sizes)]
    counts = [ShardCounts(images=len(rows), segments=10 * len(rows)) for rows in sizes]
    return plan_parts(shards, counts, map(np.array, sizes), part_images, part_bytes)


@given(SIZES, st.integers(1, 9), st.one_of(st.none(), st.integers(1, 100)))
def test_every_row_is_in_one_part_and_in_order(
    sizes: list[list[int]], part_images: int, part_bytes: int | None
) -> None:
    slices = [s for part in plan(sizes, part_images, part_bytes) for s in part]
    found = [(s.shard, row) for s in slices for row in range(s.start, s.stop)]
    assert found == [(f"shards/{i}", r) for i, rows in enumerate(sizes) for r in range(len(rows))]
    assert all(s.start < s.stop for s in slices)
    numbers = [s.first_image + row for s in slices for row in range(s.start, s.stop)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(s.first_segment == 10 * (s.first_image - 1) + 1 for s in slices)


@given(SIZES, st.integers(1, 9), st.integers(1, 100))
def test_a_part_keeps_its_bounds_unless_one_piece_breaks_them(
    sizes: list[list[int]], part_images: int, part_bytes: int
) -> None:
    by_shard = {f"shards/{i}": rows for i, rows in enumerate(sizes)}
    for part in plan(sizes, part_images, part_bytes):
        rows = [by_shard[s.shard][row] for s in part for row in range(s.start, s.stop)]
        assert len(part) == 1 or len(rows) <= part_images
        assert len(rows) == 1 or sum(rows) <= part_bytes


def test_with_parts_of_one_image_every_shard_is_a_part() -> None:
    assert [len(part) for part in plan([[1] * 6, [1], [1, 1]], 1, None)] == [1, 1, 1]
