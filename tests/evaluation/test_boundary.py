"""Contour accuracy of DAVIS, against dilation with disks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.morphology import dilation, disk

from specray.evaluation import BoundaryScore, boundary_f
from specray.evaluation.boundary import boundary

Mask = NDArray[np.bool_]


def blobs(seed: int, shape: tuple[int, int]) -> Mask:
    """Ellipses, some of which touch the border."""
    random = np.random.default_rng(seed)
    y, x = np.indices(shape)
    mask = np.zeros(shape, dtype=np.bool_)
    for _ in range(3):
        centre, axes = random.random(2) * shape, random.uniform(3, 20, 2)
        mask |= ((y - centre[0]) / axes[0]) ** 2 + ((x - centre[1]) / axes[1]) ** 2 <= 1
    return mask


def by_loops(mask: Mask) -> Mask:
    height, width = mask.shape
    edges = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            for down, right in ((0, 1), (1, 0), (1, 1)):
                # beyond the border the image goes on as it ends
                other = mask[min(y + down, height - 1), min(x + right, width - 1)]
                edges[y, x] |= mask[y, x] != other
    return edges


def by_dilation(prediction: Mask, truth: Mask, tolerance: float) -> tuple[float, float, float]:
    around = disk(math.ceil(tolerance * np.linalg.norm(truth.shape)))
    found, true = by_loops(prediction), by_loops(truth)
    precision = (found & dilation(true, around)).sum() / found.sum()
    recall = (true & dilation(found, around)).sum() / true.sum()
    return precision, recall, 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(4))
def test_boundary_is_where_a_pixel_differs_from_those_that_follow(seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 12)) < 0.5
    np.testing.assert_array_equal(boundary(mask), by_loops(mask))


@pytest.mark.parametrize("tolerance", [0.008, 0.03])
@pytest.mark.parametrize("seed", range(4))
def test_score_agrees_with_dilation(seed: int, tolerance: float) -> None:
    prediction, truth = blobs(seed, (67, 90)), blobs(seed + 100, (67, 90))
    near = np.roll(truth, 5, axis=1)
    for mask in (prediction, near):
        found = boundary_f(mask, truth, tolerance)
        expected = by_dilation(mask, truth, tolerance)
        assert (found.precision, found.recall, found.f) == pytest.approx(expected, rel=1e-12)
        assert 0 < found.f < 1


def test_perfect_prediction_scores_one_and_a_near_one_too() -> None:
    truth = np.zeros((480, 854), dtype=np.bool_)
    truth[100:300, 200:500] = True
    assert boundary_f(truth, truth) == BoundaryScore(1, 1, 1)
    assert boundary_f(np.roll(truth, 8, axis=1), truth).f == 1  # 0.008 of 980 pixels
    assert boundary_f(np.roll(truth, 9, axis=1), truth).f < 1


def test_score_is_symmetric_but_for_its_parts() -> None:
    one, two = blobs(0, (60, 60)), blobs(1, (60, 60))
    there, back = boundary_f(one, two), boundary_f(two, one)
    assert (there.precision, there.recall, there.f) == (back.recall, back.precision, back.f)


def test_masks_without_a_boundary_agree_with_each_other_alone() -> None:
    empty, full, some = np.zeros((9, 9)) > 0, np.ones((9, 9)) > 0, np.eye(9) > 0
    for one, other in ((empty, empty), (full, full), (full, empty)):
        assert boundary_f(one, other) == BoundaryScore(1, 1, 1)
    assert boundary_f(empty, some) == BoundaryScore(precision=1, recall=0, f=0)
    assert boundary_f(some, empty) == BoundaryScore(precision=0, recall=1, f=0)


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        boundary_f(np.ones((2, 3), dtype=np.bool_), np.ones((3, 2), dtype=np.bool_))
