"""Masks at the pixels that the backbone saw, against the decoded masks."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from specray.masks import ImageGeometry, seen_masks
from specray.masks.rle import run_edges
from tests.masks.cases import GEOMETRIES


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_pixel_takes_the_mask_under_its_centre(geometry: ImageGeometry, share: float) -> None:
    g = geometry
    noise = np.random.default_rng(1).random((3, g.height, g.width))
    masks = [each < share for each in noise]
    encoded = [coco_mask.encode(np.asfortranarray(each, np.uint8)) for each in masks]
    found = seen_masks(encoded, g)
    y = ((np.arange(g.grid_h * g.patch) + 0.5) * g.height / g.resized_height).astype(int)
    x = ((np.arange(g.grid_w * g.patch) + 0.5) * g.width / g.resized_width).astype(int)
    expected = np.full((len(y), len(x)), 255)
    for value, each in enumerate(masks):
        expected[each[y][:, x]] = value
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_edges_of_runs_are_where_the_mask_changes(share: float) -> None:
    mask = np.random.default_rng(2).random((37, 23)) < share
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    expected = [0, *([0] if flat[0] else []), *changes.tolist(), flat.size]
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    assert run_edges(encoded).tolist() == expected


def test_more_masks_than_a_byte_holds_are_refused() -> None:
    mask = coco_mask.encode(np.ones((4, 4), np.uint8, order="F"))
    geometry = ImageGeometry(4, 4, 4, 4, patch=2, grid_h=2, grid_w=2)
    with pytest.raises(ValueError, match="255 are the most"):
        seen_masks([mask] * 256, geometry)
