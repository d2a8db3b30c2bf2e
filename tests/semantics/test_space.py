from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from specray.errors import UserError
from specray.semantics import fit_space
from tests.semantics.cases import unit

POINTS = np.random.default_rng(0).standard_normal((3000, 24)) * np.geomspace(3, 0.1, 24) + 0.3


def test_without_pca_points_are_the_unit_features_and_zeros_stay_zero() -> None:
    points = np.concatenate([POINTS[:5], np.zeros((1, 24))]).astype(np.float16)
    projected = fit_space(points).project(points)
    assert projected.dtype == np.float32 and projected.flags.c_contiguous
    np.testing.assert_allclose(projected[:5], unit(points[:5].astype(np.float64)), atol=1e-6)
    assert not projected[5].any()


@pytest.mark.parametrize("whiten", [False, True])
def test_components_are_those_of_scikit_learn(whiten: bool) -> None:
    ours = fit_space(POINTS, spherical=False, pca=6, whiten=whiten).project(POINTS)
    theirs = PCA(6, whiten=whiten, svd_solver="full").fit_transform(unit(POINTS).astype(float))
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours, theirs * signs, atol=2e-5 * np.abs(theirs).max())


def test_the_largest_weight_of_a_component_is_positive() -> None:
    components = fit_space(POINTS, pca=8).components
    assert components is not None
    assert (components[np.arange(8), np.abs(components).argmax(axis=1)] > 0).all()


def test_spherical_points_have_length_one_after_pca() -> None:
    projected = fit_space(POINTS, pca=5, whiten=True).project(POINTS)
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("whiten", [False, True])
def test_no_point_is_longer_than_the_bound(spherical: bool, whiten: bool) -> None:
    space = fit_space(POINTS, spherical=spherical, pca=5, whiten=whiten)
    points = np.concatenate([POINTS, -POINTS, 1e6 * POINTS, np.zeros((1, 24))])
    assert np.linalg.norm(space.project(points), axis=1).max() <= space.bound * (1 + 1e-6)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 2999), min_size=1, max_size=90), st.booleans(), st.booleans())
def test_a_row_depends_on_its_own_feature_alone(rows: set[int], whiten: bool, pca: bool) -> None:
    space = fit_space(POINTS[:200], pca=7 if pca else None, whiten=whiten and pca)
    some = sorted(rows)
    np.testing.assert_array_equal(space.project(POINTS[some]), space.project(POINTS)[some])


def test_the_space_is_the_same_with_any_number_of_threads() -> None:
    spaces = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            spaces.append(fit_space(POINTS, pca=9).components)
    np.testing.assert_array_equal(spaces[0], spaces[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    points = POINTS.copy()
    points[7, 3] = bad
    for pca in (None, 4):
        with pytest.raises(UserError, match="NaN or infinite"):
            fit_space(POINTS, pca=pca).project(points)
    with pytest.raises(UserError, match="NaN or infinite"):
        fit_space(points, pca=4)


def test_features_of_another_dimension_are_refused() -> None:
    with pytest.raises(UserError, match="24 dimensions"):
        fit_space(POINTS).project(POINTS[:, :23])


def test_more_components_than_there_are_are_refused() -> None:
    with pytest.raises(UserError, match="at most 24"):
        fit_space(POINTS, pca=25)
    with pytest.raises(UserError, match="at most 9"):
        fit_space(POINTS[:10], pca=12)
    with pytest.raises(UserError, match="lower --pca"):
        fit_space(np.repeat(POINTS[:4], 9, axis=0), pca=8, whiten=True)
