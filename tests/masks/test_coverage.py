"""Pixels of a mask in every cell, from its encoding, against the mask itself."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.masks import ImageGeometry, cell_coverage, to_blocks
from tests.masks.cases import GEOMETRIES

SHAPES = ("empty", "full", "half", "noise", "speck", "stripes", "last pixel")


def mask(shape: str, height: int, width: int) -> NDArray[np.bool_]:
    rows, columns = np.indices((height, width))
    noise = np.random.default_rng(0).random((height, width))
    masks: dict[str, NDArray[np.bool_]] = {
        "empty": rows < 0,
        "full": rows >= 0,
        "half": rows + columns < (height + width) / 2,
        "noise": noise < 0.5,
        "speck": noise > 0.99,
        "stripes": columns % 3 == 0,
        "last pixel": (rows == height - 1) & (columns == width - 1),
    }
    return masks[shape]


def nearest_cells(geometry: ImageGeometry) -> NDArray[np.int64]:
    """(height, width) cell of every pixel, clamped to the grid."""
    g = geometry
    y = (np.arange(g.height) + 0.5) * g.resized_height / g.height // g.patch
    x = (np.arange(g.width) + 0.5) * g.resized_width / g.width // g.patch
    rows, columns = np.minimum(y, g.grid_h - 1), np.minimum(x, g.grid_w - 1)
    return (rows[:, None] * g.grid_w + columns).astype(np.int64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_every_pixel_of_a_mask_is_counted_in_its_cell(geometry: ImageGeometry, shape: str) -> None:
    inside = mask(shape, geometry.height, geometry.width)
    rle = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    (found,) = cell_coverage([rle], geometry)
    cells = geometry.grid_h * geometry.grid_w
    expected = np.bincount(nearest_cells(geometry)[inside], minlength=cells)
    np.testing.assert_array_equal(found, expected)


def test_cells_are_those_of_the_masks() -> None:
    """Pixels under the grid belong to the cell whose label they get."""
    geometry = ImageGeometry(70, 90, 70, 90, patch=8, grid_h=8, grid_w=11)
    labels = np.arange(88).reshape(8, 11)
    blocks = to_blocks(labels, geometry)
    full = blocks.labels.repeat(blocks.heights, 0).repeat(blocks.widths, 1)
    np.testing.assert_array_equal(full[:64, :88], nearest_cells(geometry)[:64, :88])


def test_no_masks_cover_nothing() -> None:
    geometry = ImageGeometry(16, 16, 16, 16, patch=8, grid_h=2, grid_w=2)
    assert cell_coverage([], geometry).shape == (0, 4)
