from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage

from specray.semantics import ward


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=25), st.integers(0, 2**32 - 1))
def test_merges_are_those_of_scipy_on_the_points(sizes: list[int], seed: int) -> None:
    centroids = np.random.default_rng(seed).standard_normal((len(sizes), 5))
    ours = ward(centroids, np.array(sizes))
    theirs = linkage(np.repeat(centroids, sizes, axis=0), "ward")[-len(ours) :]
    np.testing.assert_allclose(ours[:, 2:], theirs[:, 2:], rtol=1e-6)


def test_equal_sizes_give_the_rows_of_scipy() -> None:
    centroids = np.random.default_rng(0).standard_normal((40, 6))
    np.testing.assert_allclose(
        ward(centroids, np.ones(40, np.int64)), linkage(centroids, "ward"), rtol=1e-9
    )


def test_one_class_has_no_merges() -> None:
    assert ward(np.zeros((1, 3)), np.array([4])).shape == (0, 4)
