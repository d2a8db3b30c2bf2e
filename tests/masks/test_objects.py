"""Objects from the Fiedler vector (golden check 15 and the rules of localisation)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from specray.masks import (
    ImageGeometry,
    ObjectConfig,
    object_labels,
    object_segments,
    to_image,
)
from specray.masks.config import Connectivity
from tests.masks.cases import GEOMETRIES, native


def fiedler(*maps: NDArray[np.float64] | list[list[float]]) -> Tensor:
    """(B, 2, N) eigenvectors whose second one is given as (h, w) maps."""
    second = torch.tensor(np.stack(maps)).float().flatten(1)
    return torch.stack([torch.ones_like(second), second], dim=1)


def random_vectors(batch: int, geometry: ImageGeometry) -> Tensor:
    shape = (batch, 3, geometry.grid_h * geometry.grid_w)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_largest_component_comes_first_and_gives_the_box() -> None:
    values = np.full((8, 10), -0.1)
    values[2:5, 3:7] = 0.5
    values[7, 0:2] = 1.0
    geometry = native(130, 165, 16)
    big, small = object_segments(fiedler(values), (8, 10), [geometry], ObjectConfig())[0]
    assert (big.index, big.bbox) == (0, (48, 32, 64, 48))
    assert (small.index, small.bbox[:2]) == (1, (0, 112))
    assert (big.score, small.score) == (0.5, 1.0)


@pytest.mark.parametrize(("connectivity", "objects"), [(8, 1), (4, 2)])
def test_connectivity_decides_whether_corners_join(
    connectivity: Connectivity, objects: int
) -> None:
    vectors = fiedler([[1.0, -1, -1], [-1, 1, -1], [-1, -1, -1]])
    config = ObjectConfig(connectivity)
    assert len(object_segments(vectors, (3, 3), [native(9, 9, 3)], config)[0]) == objects


def test_zero_is_background() -> None:
    labels = object_labels(fiedler([[0.0, 1, 0], [0, -1, 0]]), (2, 3))
    np.testing.assert_array_equal(labels[0], [[0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_empty_foreground_is_the_whole_image_with_score_zero(value: float) -> None:
    vectors, geometry = fiedler(np.full((2, 3), value)), native(37, 50, 16)
    (segment,) = object_segments(vectors, (2, 3), [geometry], ObjectConfig())[0]
    assert segment.bbox == (0.0, 0.0, 50.0, 37.0)
    assert (segment.area, segment.score) == (37 * 50, 0.0)


def test_image_of_one_eigenvector_is_one_object() -> None:
    (segment,) = object_segments(torch.ones(1, 1, 1), (1, 1), [native(5, 5, 5)], ObjectConfig())[0]
    assert (segment.area, segment.score) == (25, 0.0)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_union_of_objects_is_the_whole_foreground(geometry: ImageGeometry) -> None:
    vectors, grid = random_vectors(1, geometry), (geometry.grid_h, geometry.grid_w)
    vectors[0, 1, 0] = 1.0  # not empty
    segments = object_segments(vectors, grid, [geometry], ObjectConfig())[0]
    mask = (vectors[0, 1] > 0).long().reshape(grid).numpy()
    union = coco_mask.decode(coco_mask.merge([segment.rle for segment in segments]))
    np.testing.assert_array_equal(union, to_image(mask, geometry))
    assert sum(segment.area for segment in segments) == union.sum()  # and they are disjoint
    assert all(0 < segment.score <= 1 for segment in segments)


def test_objects_are_the_same_alone_and_in_a_batch() -> None:
    geometry = native(70, 90, 8)
    vectors, grid = random_vectors(3, geometry), (geometry.grid_h, geometry.grid_w)
    together = object_segments(vectors, grid, [geometry] * 3, ObjectConfig())
    alone = [object_segments(v[None], grid, [geometry], ObjectConfig())[0] for v in vectors]
    assert together == alone


def test_images_of_one_grid_keep_their_own_sizes() -> None:
    vectors = fiedler([[1.0, -1]]).repeat(2, 1, 1)
    sizes = [native(4, 9, 4), ImageGeometry(40, 90, 4, 9, 4, 1, 2)]
    small, large = object_segments(vectors, (1, 2), sizes, ObjectConfig())
    assert (small[0].rle["size"], large[0].rle["size"]) == ([4, 9], [40, 90])
    assert large[0].area == 100 * small[0].area
