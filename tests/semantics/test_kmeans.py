from __future__ import annotations

import warnings
from typing import Any

import faiss
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from specray.errors import UserError
from specray.semantics import Clustering, cluster
from specray.semantics.nearest import nearest
from tests.semantics.cases import blobs, unit

DIGITS = unit(load_digits().data)


def run(
    points: Any, classes: int, seed: int = 0, restarts: int = 5, spherical: bool = True
) -> Clustering:
    return cluster(
        points, classes, seed=seed, restarts=restarts, iterations=50, spherical=spherical
    )


@pytest.mark.parametrize("classes", [5, 10, 27])
def test_inertia_is_within_a_percent_of_scikit_learn(classes: int) -> None:
    theirs = KMeans(classes, n_init=5, random_state=0).fit(DIGITS)
    ours = run(DIGITS, classes, spherical=False)
    assert ours.inertia <= 1.01 * theirs.inertia_ / len(DIGITS)


@pytest.mark.parametrize("spherical", [False, True])
def test_clear_clusters_are_found(spherical: bool) -> None:
    points, labels = blobs(20, 4000)
    found = nearest(points, run(points, 20, spherical=spherical).centroids, 1.0)[0]
    assert adjusted_rand_score(labels, found) > 0.999


def test_spherical_centroids_have_length_one() -> None:
    np.testing.assert_allclose(np.linalg.norm(run(DIGITS, 7).centroids, axis=1), 1, atol=1e-5)


def test_inertia_and_sizes_are_those_of_the_centroids_that_are_returned() -> None:
    found = run(DIGITS, 12)
    labels, squared, _ = nearest(DIGITS, found.centroids, 1.0)
    np.testing.assert_array_equal(found.sizes, np.bincount(labels))
    assert found.inertia == squared.mean() == min(found.restarts)
    assert len(found.restarts) == 5


def test_classes_come_by_falling_size() -> None:
    assert (np.diff(run(DIGITS, 12).sizes) <= 0).all()


def test_the_result_depends_on_the_seed_but_not_on_the_threads() -> None:
    points, _ = blobs(8, 6000, spread=2.0)
    usual = faiss.omp_get_max_threads()
    try:
        found = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(run(points, 11, restarts=2))
    finally:
        faiss.omp_set_num_threads(usual)
    np.testing.assert_array_equal(found[0].centroids, found[1].centroids)
    assert found[0].restarts == found[1].restarts
    assert not np.array_equal(found[0].centroids, run(points, 11, seed=1, restarts=2).centroids)


def test_restarts_agree_on_clear_clusters_only() -> None:
    clear, vague = run(blobs(5, 2000)[0], 5), run(blobs(1, 2000)[0], 5)
    assert clear.stability is not None and vague.stability is not None
    assert clear.stability > 0.85 > 0.7 > vague.stability
    assert run(DIGITS, 3, restarts=1).stability is None


def test_no_point_is_left_out_and_no_warning_given(capfd: pytest.CaptureFixture[str]) -> None:
    points, _ = blobs(3, 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(points, 2).sizes.sum() == 3000  # FAISS would sample 256 per class
        assert run(points[:40], 30).sizes.sum() == 40  # and warn below 39
    assert capfd.readouterr() == ("", "")


def test_every_class_has_points_even_if_most_points_are_the_same() -> None:
    points = np.concatenate([np.repeat(DIGITS[:1], 5000, axis=0), DIGITS[1:8]])
    found = run(points, 8)
    assert found.sizes.tolist() == [5000, 1, 1, 1, 1, 1, 1, 1]
    assert found.inertia < 1e-9


def test_fewer_distinct_points_than_classes_are_refused_with_a_remedy() -> None:
    with pytest.raises(UserError, match="at most --classes 3"):
        run(np.repeat(DIGITS[:3], 50, axis=0), 4)


def test_one_class_is_the_mean() -> None:
    found = run(DIGITS, 1, spherical=False)
    np.testing.assert_allclose(found.centroids[0], DIGITS.mean(axis=0), atol=1e-5)


def test_points_that_are_not_finite_are_refused() -> None:
    points = DIGITS.copy()
    points[3, 3] = np.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        run(points, 2)
