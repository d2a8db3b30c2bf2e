"""The order of an epoch: every image once, decided by the seed alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from specray.pipelines.training.order import shuffled


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 9), st.integers(0, 3))
def test_no_image_comes_twice_and_less_than_a_batch_is_left_out(
    sizes: list[int], batch: int, epoch: int
) -> None:
    if batch > sum(sizes):
        batch = sum(sizes)
    order = shuffled(sizes, batch, seed=5, epoch=epoch)
    found = list(zip(order.group.ravel().tolist(), order.row.ravel().tolist(), strict=True))
    assert len(set(found)) == len(found) == batch * order.steps
    assert sum(sizes) - len(found) < batch
    assert all(row < sizes[group] for group, row in found)


def test_epochs_differ_and_repeat_with_their_seed() -> None:
    orders = [shuffled([8] * 5, 4, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    for i, one in enumerate(orders):
        for other in orders[i + 1 :]:
            assert (one.group != other.group).any()
    again = shuffled([8] * 5, 4, 0, 1)
    np.testing.assert_array_equal(again.row, orders[1].row)


def test_a_lane_reads_few_groups() -> None:
    order = shuffled([16] * 64, 8, seed=0, epoch=0)
    groups = [len(np.unique(lane)) for lane in order.group]
    assert max(groups) <= 64 // 8 + 1
