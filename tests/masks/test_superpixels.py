"""Superpixels: cuts of Ward's tree of the patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy import ndimage
from sklearn.cluster import AgglomerativeClustering
from sklearn.feature_extraction.image import grid_to_graph

from specray.masks import (
    ImageGeometry,
    SuperpixelConfig,
    described,
    superpixel_labels,
    superpixel_segments,
    to_image,
)
from tests.masks.cases import GEOMETRIES, native

GRIDS = [(1, 1), (1, 9), (6, 8), (22, 30)]


def points(grid: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((grid[0] * grid[1], 8), np.float32)


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("grid", GRIDS)
def test_superpixels_are_connected_and_as_many_as_asked_for(
    grid: tuple[int, int], count: int
) -> None:
    labels = superpixel_labels(points(grid), grid, count)
    assert np.array_equal(np.unique(labels), np.arange(min(count, labels.size)))
    for label in range(labels.max() + 1):
        assert ndimage.label(labels == label)[1] == 1


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_superpixels_are_those_of_scikit_learn(count: int) -> None:
    grid = (12, 16)
    model = AgglomerativeClustering(n_clusters=count, connectivity=grid_to_graph(*grid))
    theirs, ours = model.fit_predict(points(grid)), superpixel_labels(points(grid), grid, count)
    same = ours.ravel()[:, None] == ours.ravel()
    np.testing.assert_array_equal(same, theirs[:, None] == theirs)


def test_superpixels_are_numbered_row_by_row() -> None:
    labels = superpixel_labels(points((12, 16)), (12, 16), 20)
    first = np.unique(labels, return_index=True)[1]
    assert (np.diff(first) > 0).all()


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_superpixels_are_disjoint_and_cover_the_image(geometry: ImageGeometry) -> None:
    grid = (geometry.grid_h, geometry.grid_w)
    features = torch.from_numpy(points(grid))[None]
    (segments,) = superpixel_segments(features, grid, [geometry], SuperpixelConfig(9))
    masks = np.stack([coco_mask.decode(segment.rle) for segment in segments])
    assert (masks.sum(axis=0) == 1).all()
    assert all(0 < segment.score <= 1 for segment in segments)


def test_equal_patches_have_score_one_and_scale_does_not_matter() -> None:
    features = torch.tensor([1.0, 2.0]).repeat(1, 12, 1)
    scaled = features * torch.rand(1, 12, 1).add(0.1)
    for some in (features, scaled):
        (segments,) = superpixel_segments(some, (3, 4), [native(12, 16, 4)], SuperpixelConfig(3))
        assert [round(segment.score, 5) for segment in segments] == [1, 1, 1]


def test_a_segment_is_described_by_the_mean_of_its_unit_features() -> None:
    geometry, grid = native(24, 32, 4), (6, 8)
    features = torch.from_numpy(points(grid)) * 7
    (segments,) = superpixel_segments(features[None], grid, [geometry], SuperpixelConfig(5))
    labels = superpixel_labels(torch.nn.functional.normalize(features).numpy(), grid, 5).ravel()
    unit = features.numpy() / np.linalg.norm(features, axis=1, keepdims=True)
    for segment in described(segments, features, geometry):
        expected = unit[labels == segment.index].mean(axis=0)
        assert segment.feature is not None and segment.feature.dtype == np.float16
        np.testing.assert_allclose(segment.feature, expected, atol=1e-3)
        assert abs(np.linalg.norm(expected) - segment.score) < 1e-5


def test_a_mask_across_cells_is_described_by_its_pixels_of_each() -> None:
    geometry = native(8, 8, 4)
    features = torch.eye(4)
    inside = np.zeros((8, 8), np.uint8)
    inside[:3, :4], inside[:3, 4:5] = 1, 1  # 12 pixels of cell 0, 3 of cell 1
    (segment,) = superpixel_segments(features[None], (2, 2), [geometry], SuperpixelConfig(1))[0]
    segment = replace(segment, rle=coco_mask.encode(np.asfortranarray(inside)))
    (found,) = described([segment], features, geometry)
    assert found.feature is not None
    np.testing.assert_allclose(found.feature, [0.8, 0.2, 0, 0], atol=1e-3)
    assert described([], features, geometry) == []


def test_image_maps_agree_with_the_grid() -> None:
    geometry = native(24, 32, 4)
    features = torch.from_numpy(points((6, 8)))[None]
    (segments,) = superpixel_segments(features, (6, 8), [geometry], SuperpixelConfig(5))
    unit = torch.nn.functional.normalize(features[0]).numpy()
    full = to_image(superpixel_labels(unit, (6, 8), 5), geometry)
    for segment in segments:
        np.testing.assert_array_equal(coco_mask.decode(segment.rle), full == segment.index)
