from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score

from specray.semantics import cut, ward


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


@pytest.mark.parametrize("groups", [1, 2, 7, 40])
def test_cuts_are_those_of_scipy(groups: int) -> None:
    merges = ward(np.random.default_rng(1).standard_normal((40, 6)), np.ones(40, np.int64))
    found = cut(merges, groups)
    assert sorted(set(found.tolist())) == list(range(groups))
    assert adjusted_rand_score(found, fcluster(merges, groups, "maxclust")) == 1.0


def test_groups_are_numbered_by_their_first_class() -> None:
    merges = ward(np.array([[0.0], [9.0], [0.1], [9.1], [5.0]]), np.ones(5, np.int64))
    assert cut(merges, 3).tolist() == [0, 1, 0, 1, 2]


def test_one_class_has_no_merges_and_one_group() -> None:
    merges = ward(np.zeros((1, 3)), np.array([4]))
    assert merges.shape == (0, 4)
    assert cut(merges, 1).tolist() == [0]


@pytest.mark.parametrize("groups", [0, 6])
def test_impossible_cuts_are_refused(groups: int) -> None:
    merges = ward(np.random.default_rng(1).standard_normal((5, 2)), np.ones(5, np.int64))
    with pytest.raises(ValueError, match="5 classes"):
        cut(merges, groups)
