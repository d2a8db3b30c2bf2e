"""Semantic maps of an image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from skimage import data

from specray.masks import ImageGeometry, RefineConfig, Refiner, Segment, to_image
from specray.masks.rle import RLE
from specray.pipelines.labels.maps import (
    Classified,
    geometry_of,
    map_of_patches,
    map_of_segments,
    refined,
)

HEIGHT, WIDTH = 48, 64


def rle(mask: NDArray[np.bool_]) -> RLE:
    found: RLE = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return found


def quarters() -> NDArray[np.int64]:
    return np.add.outer(np.arange(HEIGHT) * 2 // HEIGHT * 2, np.arange(WIDTH) * 2 // WIDTH)


def painted(segments: list[Segment]) -> NDArray[np.int64]:
    """The map, -1 where there is no class; classes must not overlap."""
    label_map = np.full((HEIGHT, WIDTH), -1)
    for segment in segments:
        mask = coco_mask.decode(segment.rle).astype(bool)
        assert (label_map[mask] == -1).all() and mask.sum() == segment.area > 0
        rows, columns = np.nonzero(mask)
        box = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        np.testing.assert_array_equal(segment.bbox, box)
        label_map[mask] = segment.index
    return label_map


def test_a_class_is_the_union_of_its_segments() -> None:
    areas = np.bincount(quarters().ravel()).astype(float)
    found = Classified(np.array([7, 2, -1, 7]), np.array([0.2, 0.5, 0.9, 0.6]), areas)
    segments = map_of_segments([rle(quarters() == i) for i in range(4)], found)
    np.testing.assert_array_equal(painted(segments), np.array([7, 2, -1, 7])[quarters()])
    assert [(s.method, s.index) for s in segments] == [("class", 2), ("class", 7)]
    assert [round(s.score, 6) for s in segments] == [0.5, 0.4]


def test_confidence_is_the_mean_by_area() -> None:
    found = Classified(np.array([1, 1]), np.array([0.0, 1.0]), np.array([3.0, 1.0]))
    assert found.mean_confidence(1) == 0.25


def test_patches_are_blown_up_as_other_labels_of_the_grid() -> None:
    geometry = ImageGeometry(HEIGHT, WIDTH, HEIGHT, WIDTH, patch=15, grid_h=3, grid_w=4)
    classes = np.random.default_rng(0).integers(-1, 3, 12) * 5
    classes[classes < 0] = -1
    segments = map_of_patches(Classified(classes, np.full(12, 0.5), np.ones(12)), geometry)
    np.testing.assert_array_equal(painted(segments), to_image(classes.reshape(3, 4), geometry))


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (24, 32), (96, 128)])
def test_refined_maps_part_where_the_image_does(size: tuple[int, int]) -> None:
    """A bright square, labelled two pixels too large on each side."""
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[14:34, 20:44] = True
    image = np.zeros((*size, 3), np.uint8)
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, (HEIGHT, WIDTH), strict=True))
    image[square[rows][:, columns]] = 255
    rough = np.zeros_like(square)
    rough[12:36, 18:46] = True
    classes = Classified(np.array([9, 4]), np.array([0.5, 0.7]), np.ones(2))
    segments = map_of_segments([rle(rough), rle(~rough)], classes)
    fine = refined(segments, Refiner(image, RefineConfig("crf")))
    found = painted(fine)
    assert (found >= 0).all()
    assert np.mean((found == 9) == square) > 0.99 > np.mean(rough == square)
    assert {s.index: s.score for s in fine} == {s.index: s.score for s in segments}


def test_pixels_of_no_class_stay_without_one() -> None:
    image = np.ascontiguousarray(data.astronaut()[100 : 100 + HEIGHT, 200 : 200 + WIDTH])
    classes = Classified(np.array([3, -1]), np.array([0.5, 0.7]), np.ones(2))
    left = np.zeros((HEIGHT, WIDTH), bool)
    left[:, : WIDTH // 2] = True
    segments = map_of_segments([rle(left), rle(~left)], classes)
    found = painted(refined(segments, Refiner(image, RefineConfig())))
    assert set(np.unique(found)) == {-1, 3}
    assert refined([], Refiner(image, RefineConfig())) == []


def test_the_geometry_of_a_row_is_that_of_its_segmentation() -> None:
    row = {"height": 480, "width": 641, "grid_h": 15, "grid_w": 20}
    assert geometry_of(row, 16, 240) == ImageGeometry(480, 641, 240, 320, 16, 15, 20)
    assert geometry_of(row, 32, None) == ImageGeometry(480, 641, 480, 641, 32, 15, 20)
