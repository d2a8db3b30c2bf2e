"""Segments, against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from specray.masks import ImageGeometry, erode_dilate, segments_from_labels, to_image
from tests.masks.cases import GEOMETRIES, geometries, native, random_labels

SCORES = np.linspace(0.1, 1, 10)


@given(geometries(), st.integers(1, 5), st.integers(0, 99))
def test_masks_boxes_and_areas_are_those_of_the_label_map(
    geometry: ImageGeometry, labels: int, seed: int
) -> None:
    grid = random_labels(geometry, labels, seed)
    image = to_image(grid, geometry)
    segments = segments_from_labels(grid, geometry, "region", SCORES)
    assert [s.index for s in segments] == [x for x in np.unique(image) if x >= 0]
    for segment in segments:
        np.testing.assert_array_equal(coco_mask.decode(segment.rle), image == segment.index)
        assert segment.bbox == tuple(coco_mask.toBbox(segment.rle))
        assert segment.area == coco_mask.area(segment.rle)
        assert segment.score == SCORES[segment.index]


def test_box_of_cells_in_pixels() -> None:
    labels = np.full((8, 10), -1)
    labels[2:5, 3:7] = 0
    (segment,) = segments_from_labels(labels, native(128, 160, 16), "object", [1.0])
    assert segment.bbox == (48, 32, 64, 48)  # corners [48, 32, 112, 80]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_morphology_changes_the_box_only(geometry: ImageGeometry) -> None:
    grid = random_labels(geometry, 2, seed=1)
    plain = segments_from_labels(grid, geometry, "region", SCORES)
    refined = segments_from_labels(grid, geometry, "region", SCORES, erode=1, dilate=2)
    for before, after in zip(plain, refined, strict=True):
        assert (after.rle, after.area) == (before.rle, before.area)
        mask = erode_dilate(grid == after.index, 1, 2).astype(np.int64)
        full = to_image(mask, geometry).astype(np.uint8, order="F")
        assert after.bbox == tuple(coco_mask.toBbox(coco_mask.encode(full)))


def test_cells_without_a_pixel_have_no_box() -> None:
    tiny = ImageGeometry(12, 12, 480, 480, patch=16, grid_h=30, grid_w=30)
    labels = random_labels(tiny, 200)
    scores = np.zeros(200)
    plain = segments_from_labels(labels, tiny, "region", scores)
    refined = segments_from_labels(labels, tiny, "region", scores, erode=1, dilate=1)
    assert [s.index for s in refined] == [s.index for s in plain]
    assert len(plain) < len(np.unique(labels[labels >= 0]))


def test_plain_python_values_only() -> None:
    segment = segments_from_labels(np.zeros((1, 1), dtype=np.int64), native(5, 5, 5), "m", [1.0])[0]
    assert [type(x) for x in (segment.index, segment.score, segment.area)] == [int, float, int]
    assert {type(x) for x in segment.bbox} == {float}
    assert segment.rle["size"] == [5, 5] and isinstance(segment.rle["counts"], bytes)
