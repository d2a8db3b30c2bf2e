"""Numbers that depend on what they are for alone."""

from __future__ import annotations

import numpy as np
from scipy import stats

from specray.seeds import derive_seed, mixed


def test_mixed_numbers_are_uniform_and_depend_on_seed_and_index_alone() -> None:
    seeds = np.array([derive_seed(0, str(i)) for i in range(500)], np.uint64).repeat(40)
    index = np.tile(np.arange(40), 500)
    found = mixed(seeds, index)
    assert len(np.unique(found)) == len(found)
    assert stats.kstest(found / 2**64, "uniform").pvalue > 0.01
    for some in (found.reshape(500, 40)[:, 0], found.reshape(500, 40)[7]):
        assert stats.kstest(some / 2**64, "uniform").pvalue > 0.001
    np.testing.assert_array_equal(mixed(seeds[::-1], index[::-1]), found[::-1])
