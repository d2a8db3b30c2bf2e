"""Instances as rows: masks at full resolution, disjoint, moved to the borders of the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy import ndimage

from specray.masks import (
    ImageGeometry,
    InstanceConfig,
    RefineConfig,
    Refiner,
    Segment,
    instance_segments,
    separate,
    to_image,
)
from specray.masks.config import Refine
from specray.masks.instances.segments import _without_specks
from tests.masks.cases import geometries, native
from tests.masks.instances.scenes import TOUCHING, features_of, overlap, things

Pixels = NDArray[np.uint8]
CELL = 16
SIZE = (128, 192)
"""Pixels of the photograph: 8 x 12 cells."""
RED, GREEN, GREY = (200, 60, 50), (60, 180, 70), (90, 120, 160)


def discs() -> NDArray[np.int64]:
    """(H, W) two round things, whose borders no grid has."""
    y, x = np.ogrid[: SIZE[0], : SIZE[1]]
    scene = np.zeros(SIZE, np.int64)
    scene[(y - 60) ** 2 + (x - 58) ** 2 < 38**2] = 1
    scene[(y - 66) ** 2 + (x - 138) ** 2 < 35**2] = 2
    return scene


def photograph(scene: NDArray[np.int64], grain: float = 8.0) -> Pixels:
    """A grainy image of a scene, every thing of its own colour."""
    noise = np.random.default_rng(0).normal(0, grain, (*scene.shape, 3))
    return np.clip(np.array([GREY, RED, GREEN])[scene] + noise, 0, 255).astype(np.uint8)


def cells_of(scene: NDArray[np.int64]) -> NDArray[np.int64]:
    """(h, w) what most of every cell is."""
    h, w = (side // CELL for side in scene.shape)
    cells = scene.reshape(h, CELL, w, CELL).swapaxes(1, 2).reshape(h, w, -1)
    votes = (cells[..., None] == np.arange(3)).sum(axis=2)
    labels: NDArray[np.int64] = votes.argmax(axis=2)
    return labels


DISCS = discs()


def found_in(
    cells: NDArray[np.int64],
    image: Pixels,
    refine: Refine,
    geometry: ImageGeometry | None = None,
    config: InstanceConfig | None = None,
) -> list[Segment]:
    """Instances of a scene of cells in an image."""
    geometry = geometry or native(image.shape[0], image.shape[1], CELL)
    refiners = None if refine == "none" else [Refiner(image, RefineConfig(refine))]
    features, config = features_of(cells)[None], config or InstanceConfig()
    return instance_segments(features, cells.shape, [geometry], config, [0], refiners)[0]


def label_map(segments: list[Segment], size: tuple[int, int]) -> NDArray[np.int64]:
    """(H, W) 0 where nothing is, 1 for the first segment, ...; says if they overlap."""
    labels = np.zeros(size, np.int64)
    for number, segment in enumerate(segments, start=1):
        mask = coco_mask.decode(segment.rle).astype(bool)
        assert mask.shape == size
        assert not labels[mask].any()
        labels[mask] = number
    return labels


def check(segments: list[Segment], size: tuple[int, int]) -> None:
    """What always holds of the rows of an image."""
    label_map(segments, size)
    for segment in segments:
        assert segment.method == "instance"
        assert segment.area == coco_mask.area(segment.rle) > 0
        assert segment.bbox == tuple(coco_mask.toBbox(segment.rle))
        assert 0 < segment.score <= 1
    assert [s.index for s in segments] == list(range(len(segments)))
    scores = [s.score for s in segments]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("refine", ["fast", "crf"])
def test_refined_instances_follow_the_borders_of_the_image(refine: Refine) -> None:
    image = photograph(DISCS)
    coarse, fine = (
        overlap(DISCS, label_map(found_in(cells_of(DISCS), image, how), SIZE))
        for how in ("none", refine)
    )
    assert max(coarse) < 0.9
    assert min(fine) > 0.98


@pytest.mark.parametrize("refine", ["none", "fast", "crf"])
def test_masks_are_disjoint_and_boxes_areas_and_scores_are_theirs(refine: Refine) -> None:
    segments = found_in(cells_of(DISCS), photograph(DISCS), refine)
    assert len(segments) == 2
    check(segments, SIZE)
    found = separate(features_of(cells_of(DISCS)), (8, 12), InstanceConfig(), 0)
    assert [s.score for s in segments] == found.scores.tolist()


@given(geometries(), st.integers(0, 2**32 - 1), st.sampled_from(["none", "fast"]))
@settings(max_examples=40, deadline=None)
def test_rows_are_sound_for_any_size_of_image_and_grid(
    geometry: ImageGeometry, seed: int, refine: Refine
) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 3, (geometry.grid_h, geometry.grid_w)).repeat(2, 0).repeat(2, 1)
    cells = cells[: geometry.grid_h, : geometry.grid_w]
    size = geometry.resized_height, geometry.resized_width
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    check(found_in(cells, image, refine, geometry), (geometry.height, geometry.width))


def test_unrefined_masks_are_whole_cells() -> None:
    geometry = native(*SIZE, CELL)
    cells = cells_of(DISCS)
    found = separate(features_of(cells), cells.shape, InstanceConfig(), 0)
    labels = label_map(found_in(cells, photograph(DISCS), "none"), SIZE)
    np.testing.assert_array_equal(labels, to_image(found.labels, geometry))


@pytest.mark.parametrize("refine", ["fast", "crf"])
def test_a_speck_that_looks_like_an_instance_beside_it_is_no_part_of_it(refine: Refine) -> None:
    scene = DISCS.copy()
    scene[100:108, 84:94] = 1  # of fewer pixels than a cell
    for segment in found_in(cells_of(scene), photograph(scene), refine):
        assert ndimage.label(coco_mask.decode(segment.rle), np.ones((3, 3)))[1] == 1
        assert not coco_mask.decode(segment.rle)[100:108, 84:94].any()


def test_parts_smaller_than_a_cell_go_to_the_background_and_others_stay() -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 2:6] = 1  # 16
    labels[2:6, 10:14] = 1  # 16, another part of the same
    labels[10, 10:25] = 1  # 15
    labels[15:17, 2:5] = 2  # 6
    expected = np.where(np.arange(20)[:, None] < 8, labels, 0)
    np.testing.assert_array_equal(_without_specks(labels, 16.0), expected)


@pytest.mark.parametrize("refine", ["fast", "crf"])
def test_an_instance_of_which_nothing_is_left_has_no_row_and_others_move_up(
    refine: Refine,
) -> None:
    cells = cells_of(DISCS)
    cells[7, 5:8] = 3  # nothing is there in the image
    features = features_of(cells)
    vivid = features[(cells == 3).ravel()]
    features[(cells == 3).ravel()] += 3 * (vivid - features[0])
    image, geometry = photograph(DISCS), native(*SIZE, CELL)
    refiners = [None, Refiner(image, RefineConfig(refine))]
    batch, config = torch.stack([features] * 2), InstanceConfig(instances=3)
    before, after = instance_segments(batch, (8, 12), [geometry] * 2, config, [0, 0], refiners)
    assert coco_mask.decode(before[0].rle)[112:, 80:128].all()
    assert [s.index for s in after] == [0, 1]
    assert [s.score for s in after] == [s.score for s in before[1:]]
    assert min(overlap(DISCS, label_map(after, SIZE))) > 0.98


@pytest.mark.parametrize("separation", ["tree", "spectral"])
@pytest.mark.parametrize("refine", ["none", "fast", "crf"])
def test_an_image_without_instances_has_no_rows(refine: Refine, separation: str) -> None:
    config = InstanceConfig(separation)  # type: ignore[arg-type]
    geometry, image = native(32, 32, CELL), np.zeros((32, 32, 3), np.uint8)
    refiners = None if refine == "none" else [Refiner(image, RefineConfig(refine))]
    features = torch.ones(1, 4, 12)
    assert instance_segments(features, (2, 2), [geometry], config, [0], refiners) == [[]]


@pytest.mark.parametrize("separation", ["tree", "spectral"])
@pytest.mark.parametrize("refined", [False, True])
def test_an_image_has_the_instances_in_a_batch_that_it_has_alone(
    separation: str, refined: bool
) -> None:
    config = InstanceConfig(separation)  # type: ignore[arg-type]
    scenes = [cells_of(DISCS), TOUCHING, things((8, 12), np.s_[2:6, 4:9])]
    features = torch.stack([features_of(scene, seed=i) for i, scene in enumerate(scenes)])
    images = [photograph(scene.repeat(CELL, 0).repeat(CELL, 1)) for scene in scenes]
    refiners = [Refiner(i, RefineConfig("fast")) if refined else None for i in images]
    geometry = native(*SIZE, CELL)
    together = instance_segments(features, (8, 12), [geometry] * 3, config, [4, 5, 6], refiners)
    for i, found in enumerate(together):
        alone = instance_segments(
            features[i : i + 1], (8, 12), [geometry], config, [4 + i], [refiners[i]]
        )
        assert alone == [found]
        assert found
