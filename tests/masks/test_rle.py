"""Run-length encoding, against pycocotools on the full mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from specray.masks import ImageGeometry, encode, label_runs, to_blocks, to_image
from tests.masks.cases import GEOMETRIES, geometries, native, random_labels


def assert_same_bytes(geometry: ImageGeometry, labels: int, seed: int) -> None:
    grid = random_labels(geometry, labels, seed)
    image = to_image(grid, geometry)
    runs = label_runs(to_blocks(grid, geometry))
    for label in range(-1, labels + 1):  # the last one never occurs
        expected = coco_mask.encode(np.asfortranarray(image == label, dtype=np.uint8))
        assert encode(runs, label, image.shape) == expected


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_bytes_equal_those_of_pycocotools(geometry: ImageGeometry) -> None:
    assert_same_bytes(geometry, labels=3, seed=0)


@given(geometries(), st.integers(0, 4), st.integers(0, 99))
def test_bytes_equal_those_of_pycocotools_for_any_image(
    geometry: ImageGeometry, labels: int, seed: int
) -> None:
    assert_same_bytes(geometry, labels, seed)


def test_twelve_megapixels_equal_pycocotools() -> None:
    assert_same_bytes(ImageGeometry(3000, 4001, 480, 640, 16, 30, 40), labels=2, seed=0)


def test_runs_tile_the_image_and_neighbours_differ() -> None:
    geometry = native(45, 61, 16)
    grid = random_labels(geometry, 3)
    runs = label_runs(to_blocks(grid, geometry))
    assert (np.diff(runs.labels) != 0).all()
    flat = runs.labels.repeat(np.diff(runs.edges))
    np.testing.assert_array_equal(flat, to_image(grid, geometry).ravel(order="F"))
