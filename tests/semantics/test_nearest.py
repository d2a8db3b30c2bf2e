from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from specray.semantics.nearest import confidence, nearest
from tests.semantics.cases import unit

RNG = np.random.default_rng(0)
POINTS = unit(RNG.standard_normal((2000, 20)))
CENTROIDS = unit(RNG.standard_normal((9, 20)))


def test_distances_are_those_of_scipy() -> None:
    labels, first, second = nearest(POINTS, CENTROIDS, 1.0)
    expected = cdist(POINTS, CENTROIDS, "sqeuclidean")
    np.testing.assert_array_equal(labels, expected.argmin(axis=1))
    np.testing.assert_allclose(np.stack([first, second]), np.sort(expected).T[:2], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 1999), min_size=1, max_size=60))
def test_a_row_depends_on_its_own_point_alone(rows: set[int]) -> None:
    some = sorted(rows)
    for one, all_of_them in zip(
        nearest(POINTS[some], CENTROIDS, 1.0), nearest(POINTS, CENTROIDS, 1.0), strict=True
    ):
        np.testing.assert_array_equal(one, all_of_them[some])


def test_of_equally_near_centroids_the_first_is_taken_without_confidence() -> None:
    labels, first, second = nearest(POINTS, CENTROIDS[[3, 3, 3]], 1.0)
    assert not labels.any() and not confidence(first, second).any()


def test_at_a_centroid_and_with_one_class_confidence_is_one() -> None:
    assert (confidence(*nearest(CENTROIDS, CENTROIDS, 1.0)[1:]) == 1).all()
    assert (confidence(*nearest(POINTS, CENTROIDS[:1], 1.0)[1:]) == 1).all()
