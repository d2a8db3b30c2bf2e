"""DSM's erosion and dilation (golden check 16), against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import morphology

from specray.masks import erode_dilate


def test_single_cell_survives_erosion_and_grows_to_a_diamond() -> None:
    mask = np.zeros((15, 15), dtype=np.bool_)
    mask[7, 7] = True
    grown = erode_dilate(mask, erode=2, dilate=5)
    rows, columns = np.indices(mask.shape)
    np.testing.assert_array_equal(grown, abs(rows - 7) + abs(columns - 7) <= 5)
    assert grown.sum() == 61


def test_erosion_does_not_shrink_a_mask_from_the_image_border() -> None:
    mask = np.zeros((6, 6), dtype=np.bool_)
    mask[:4] = True
    eroded = erode_dilate(mask, erode=1, dilate=0)
    assert eroded[:3].all() and not eroded[3:].any()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("erode", "dilate"), [(0, 0), (0, 3), (2, 0), (1, 2)])
def test_steps_agree_with_skimage(seed: int, erode: int, dilate: int) -> None:
    mask = np.random.default_rng(seed).random((12, 14)) < 0.9
    expected, cross = mask, np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    for _ in range(erode):  # skimage's default mode also takes the outside as foreground
        smaller = morphology.erosion(expected, cross, mode="max")
        expected = smaller if smaller.any() else expected
    for _ in range(dilate):
        expected = morphology.dilation(expected, cross, mode="min")
    np.testing.assert_array_equal(erode_dilate(mask, erode, dilate), expected)
