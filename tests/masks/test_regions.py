"""Regions from k-means on the eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from specray.masks import ImageGeometry, RegionConfig, region_labels, region_segments, to_image
from tests.masks.cases import GEOMETRIES, native

VALUES = torch.tensor([[0.0, 0.01, 0.02, 0.5, 0.6]])


def random_vectors(batch: int, geometry: ImageGeometry) -> Tensor:
    shape = (batch, 5, geometry.grid_h * geometry.grid_w)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_regions_are_disjoint_and_cover_the_image(geometry: ImageGeometry) -> None:
    vectors, grid = random_vectors(1, geometry), (geometry.grid_h, geometry.grid_w)
    config = RegionConfig(regions=4)
    labels = region_labels(vectors, VALUES, grid, config, [0])[0]
    segments = region_segments(vectors, VALUES, grid, [geometry], config, [0])[0]
    masks = np.stack([coco_mask.decode(segment.rle) for segment in segments])
    assert (masks.sum(axis=0) == 1).all()
    for segment, mask in zip(segments, masks, strict=True):
        np.testing.assert_array_equal(mask, to_image(labels, geometry) == segment.index)
        assert 0 <= segment.score <= 1


def test_clusters_of_the_eigenvectors_are_found_and_the_border_is_background() -> None:
    truth = np.zeros((6, 8), dtype=np.int64)
    truth[1:3, 1:4], truth[4, 2:7] = 1, 2
    corners = torch.tensor([[0.0, 0], [1, 0], [0, 1]])  # one place per region
    vectors = torch.cat([torch.ones(48, 1), corners[truth.ravel()]], dim=1).T[None]
    labels = region_labels(vectors, VALUES, (6, 8), RegionConfig(regions=3), [0])[0]
    same = labels.ravel()[:, None] == labels.ravel()
    np.testing.assert_array_equal(same, truth.ravel()[:, None] == truth.ravel())
    np.testing.assert_array_equal(labels == 0, truth == 0)
    config = RegionConfig(regions=3)
    segments = region_segments(vectors, VALUES, (6, 8), [native(12, 16, 2)], config, [0])[0]
    assert [segment.score for segment in segments] == [1, 1, 1]


def test_first_eigenvector_is_not_used() -> None:
    vectors = random_vectors(1, native(12, 12, 2))
    changed = vectors.clone()
    changed[:, 0] = torch.arange(36.0)
    before, after = (
        region_labels(v, VALUES, (6, 6), RegionConfig(), [0]) for v in (vectors, changed)
    )
    np.testing.assert_array_equal(before, after)


def test_adaptive_number_of_regions_is_that_of_the_eigengap() -> None:
    vectors = random_vectors(2, native(20, 20, 2))
    values = torch.tensor([[0.0, 0.01, 0.02, 0.5, 0.6], [0.0, 0.01, 0.02, 0.03, 0.6]])
    config = RegionConfig(regions=2, adaptive_regions=True)
    labels = region_labels(vectors, values, (10, 10), config, [0, 1])
    assert [len(np.unique(label_map)) for label_map in labels] == [3, 4]


@pytest.mark.parametrize("adaptive", [False, True])
def test_regions_are_the_same_alone_and_in_a_batch(adaptive: bool) -> None:
    geometry, seeds = native(70, 90, 8), [5, 0, 7]
    vectors, grid = random_vectors(3, geometry), (geometry.grid_h, geometry.grid_w)
    values = torch.stack([VALUES[0], torch.arange(5) ** 2, torch.arange(5) ** 0.5])
    config = RegionConfig(regions=6, adaptive_regions=adaptive, erode=1, dilate=2)
    together = region_segments(vectors, values, grid, [geometry] * 3, config, seeds)
    for image in range(3):
        one = slice(image, image + 1)
        arguments = (vectors[one], values[one], grid, [geometry], config, seeds[one])
        assert region_segments(*arguments) == [together[image]]


def test_seed_decides() -> None:
    vectors = random_vectors(1, native(40, 40, 2))
    config = RegionConfig(regions=15)
    first, again, other = (
        region_labels(vectors, VALUES, (20, 20), config, [seed]) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("eigenvectors", [1, 2, 3])
def test_tiny_graphs_and_equal_patches_give_one_region(eigenvectors: int) -> None:
    vectors, geometry = torch.ones(1, eigenvectors, 2), native(4, 9, 4)
    values = torch.zeros(1, eigenvectors)
    for config in (RegionConfig(), RegionConfig(adaptive_regions=True)):
        (segment,) = region_segments(vectors, values, (1, 2), [geometry], config, [0])[0]
        assert (segment.index, segment.area, segment.score) == (0, 36, 0)


def test_more_regions_than_patches_give_one_per_patch() -> None:
    vectors = random_vectors(1, native(4, 6, 2))
    labels = region_labels(vectors, VALUES, (2, 3), RegionConfig(regions=15), [0])
    assert sorted(labels.ravel()) == list(range(6))


def test_morphology_widens_the_boxes() -> None:
    geometry = native(40, 40, 2)
    vectors, arguments = random_vectors(1, geometry), (VALUES, (20, 20), [geometry])
    plain, wide = (
        region_segments(vectors, *arguments, RegionConfig(dilate=steps), [0])[0] for steps in (0, 2)
    )
    assert [segment.rle for segment in plain] == [segment.rle for segment in wide]
    assert all(a.bbox[2] <= b.bbox[2] for a, b in zip(plain, wide, strict=True))
