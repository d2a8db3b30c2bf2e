"""Maps of classes from scores on a grid, against interpolated features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.masks import (
    PRIMAPS_CRF,
    ClassMap,
    ImageGeometry,
    RefineConfig,
    Refiner,
    class_map,
    class_segments,
)
from specray.masks.config import Refine

GEOMETRY = ImageGeometry(120, 170, 60, 85, patch=16, grid_h=3, grid_w=5)
"""Twice the size that the backbone saw, with remainders of 12 and 5 pixels."""

CLASSES, CHANNELS = 7, 20


def random_head_and_features() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    grid = (GEOMETRY.grid_h, GEOMETRY.grid_w)
    head = rng.normal(size=(CLASSES, CHANNELS)).astype(np.float32)
    return head, rng.normal(size=(CHANNELS, *grid)).astype(np.float32)


def interpolated(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float64]:
    """(C, h, w) to pixels, one by one: linear between the centres of cells, constant outside."""

    def along(pixel: int, cells: int) -> NDArray[np.float64]:
        place = np.clip((pixel + 0.5) / GEOMETRY.patch - 0.5, 0, cells - 1)
        weights: NDArray[np.float64] = np.clip(1 - np.abs(place - np.arange(cells)), 0, None)
        return weights

    rows = np.array([along(y, GEOMETRY.grid_h) for y in range(size[0])])
    columns = np.array([along(x, GEOMETRY.grid_w) for x in range(size[1])])
    pixels: NDArray[np.float64] = np.einsum("yh,chw,xw->cyx", rows, values, columns)
    return pixels


def test_classes_are_those_of_interpolated_features() -> None:
    head, features = random_head_and_features()
    pixels = interpolated(features, (60, 85))
    expected = np.einsum("kc,cyx->kyx", head, pixels)
    scores = torch.from_numpy(np.einsum("kc,chw->khw", head, features))
    found = class_map(scores, GEOMETRY)
    assert (found.labels == expected.argmax(axis=0)).mean() > 0.999
    best = np.exp(expected.max(axis=0)) / np.exp(expected).sum(axis=0)
    np.testing.assert_allclose(found.confidence, best, atol=1e-3)


def test_what_all_classes_of_a_cell_have_in_common_changes_nothing() -> None:
    head, features = random_head_and_features()
    scores = torch.from_numpy(np.einsum("kc,chw->khw", head, features))
    found = class_map(scores, GEOMETRY)
    shifted = class_map(scores - scores.amax(dim=0), GEOMETRY)
    np.testing.assert_array_equal(found.labels, shifted.labels)
    np.testing.assert_allclose(found.confidence, shifted.confidence, atol=1e-5)


def test_segments_divide_the_original_image_and_carry_the_ids_of_their_classes() -> None:
    head, features = random_head_and_features()
    scores = torch.from_numpy(np.einsum("kc,chw->khw", head, features))
    scores[3] = -100  # a class that the image does not have
    found = class_map(scores, GEOMETRY)
    segments = class_segments(found, CLASSES, GEOMETRY)
    assert [s.index for s in segments] == [k for k in range(CLASSES) if (found.labels == k).any()]
    assert 3 not in {s.index for s in segments}
    assert {s.method for s in segments} == {"class"}
    covered = np.sum([coco_mask.decode(s.rle) for s in segments], axis=0)
    assert covered.shape == (120, 170)
    assert (covered == 1).all()
    for segment in segments:
        mine = found.confidence[found.labels == segment.index]
        assert segment.score == pytest.approx(mine.mean())
        assert 0 < segment.score <= 1


@pytest.mark.parametrize("refine", ["fast", "crf"])
def test_the_crf_moves_borders_to_those_of_the_image(refine: Refine) -> None:
    image = np.zeros((48, 80, 3), np.uint8)
    image[:, 36:] = 200  # patches part at 32 and 48
    geometry = ImageGeometry(48, 80, 48, 80, patch=16, grid_h=3, grid_w=5)
    scores = torch.zeros(2, 3, 5)
    scores[0, :, :2] = scores[1, :, 2:] = 3
    refined = class_map(scores, geometry, Refiner(image, RefineConfig(refine, crf=PRIMAPS_CRF)))
    expected = (np.arange(80) >= 36).astype(np.int32)
    assert (refined.labels == expected).mean() > 0.99
    assert (class_map(scores, geometry).labels == expected).mean() < 0.96
    # between the borders the other class would have been surer
    assert (refined.confidence[:, 33:35] < 0.5).all()


def test_confidence_never_exceeds_one() -> None:
    scores = torch.zeros(2, 1, 1)
    scores[0] = 40
    geometry = ImageGeometry(16, 16, 16, 16, patch=16, grid_h=1, grid_w=1)
    found: ClassMap = class_map(scores, geometry)
    assert (found.confidence == 1).all()
