"""Refined masks: objects and regions that end at borders of the image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from skimage import data

from specray.masks import (
    ImageGeometry,
    ObjectConfig,
    RefineConfig,
    Refiner,
    RegionConfig,
    dense_crf,
    label_energies,
    object_segments,
    region_segments,
    to_image,
)

FAST, EXACT = RefineConfig("fast"), RefineConfig("crf")
PATCH = 16


def disc(height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[:height, :width]
    inside: NDArray[np.bool_] = np.hypot(y - height / 2, x - width / 2) < min(height, width) / 3
    return inside


def photograph(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A bright object on a dark ground, with noise."""
    noise = np.random.default_rng(0).normal(0, 4, (*mask.shape, 3))
    return (np.where(mask[..., None], 190, 60) + noise).round().astype(np.uint8)


def coarse_grid(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ImageGeometry]:
    """Share of the mask in every patch, less a half, and where the patches are."""
    height, width = mask.shape
    h, w = height // PATCH, width // PATCH
    cells = mask[: h * PATCH, : w * PATCH].reshape(h, PATCH, w, PATCH).mean(axis=(1, 3))
    return cells - 0.5, ImageGeometry(height, width, height, width, PATCH, h, w)


def fiedler(values: NDArray[np.float64]) -> torch.Tensor:
    second = torch.from_numpy(values).float().reshape(1, 1, -1)
    return torch.cat([torch.ones_like(second), second], dim=1)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("config", [FAST, EXACT])
def test_object_ends_where_the_picture_does(config: RefineConfig) -> None:
    truth = disc(203, 250)
    values, geometry = coarse_grid(truth)
    refiners = [Refiner(photograph(truth), config)]
    (raw,) = object_segments(fiedler(values), values.shape, [geometry], ObjectConfig())[0]
    (refined,) = object_segments(
        fiedler(values), values.shape, [geometry], ObjectConfig(), refiners
    )[0]
    found = coco_mask.decode(refined.rle).astype(bool)
    assert iou(coco_mask.decode(raw.rle).astype(bool), truth) < 0.95
    assert iou(found, truth) > 0.999
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    corner = (columns[0], rows[0])
    assert refined.bbox == (*corner, columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0])
    assert refined.area == found.sum()


def test_exact_refinement_is_the_dense_crf() -> None:
    image = np.ascontiguousarray(data.chelsea()[:150, 100:300])
    labels = np.random.default_rng(0).integers(0, 3, (150, 200)) * 2  # 0, 2, 4: not dense
    labels = labels[::30, ::25].repeat(30, axis=0).repeat(25, axis=1)
    energies = label_energies(torch.from_numpy(labels // 2)[None], 3)
    expected = dense_crf(torch.from_numpy(image)[None], energies)[0].argmax(dim=0).numpy() * 2
    np.testing.assert_array_equal(Refiner(image, EXACT)(labels), expected)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_fast_refinement_is_nearly_the_exact_one(name: str) -> None:
    image = getattr(data, name)()[:240, 100:420]
    image = np.ascontiguousarray(image)
    bright = image.mean(axis=2) > image.mean()
    values, geometry = coarse_grid(bright)
    labels = to_image((values > 0).astype(np.int64), geometry)
    fast, exact = (Refiner(image, config)(labels) > 0 for config in (FAST, EXACT))
    assert iou(fast, exact) > 0.95
    assert iou(fast, exact) > iou(labels > 0, exact) + 0.05


def test_regions_stay_disjoint_and_cover_the_image() -> None:
    image = np.ascontiguousarray(data.astronaut()[:203, :250])
    geometry = ImageGeometry(609, 750, 203, 250, PATCH, 12, 15)
    vectors = torch.randn(1, 4, 180, generator=torch.Generator().manual_seed(0))
    values = torch.tensor([[0.0, 0.1, 0.2, 0.3]])
    config = RegionConfig(regions=5)
    found = region_segments(
        vectors, values, (12, 15), [geometry], config, [0], [Refiner(image, FAST)]
    )[0]
    masks = np.stack([coco_mask.decode(segment.rle) for segment in found])
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert masks.shape[1:] == (609, 750)
    assert [segment.area for segment in found] == masks.sum(axis=(1, 2)).tolist()


def test_boxes_of_morphology_stay_those_of_the_grid() -> None:
    image = np.ascontiguousarray(data.astronaut()[:203, :250])
    geometry = ImageGeometry(203, 250, 203, 250, PATCH, 12, 15)
    vectors = torch.randn(1, 4, 180, generator=torch.Generator().manual_seed(0))
    values = torch.tensor([[0.0, 0.1, 0.2, 0.3]])
    config = RegionConfig(regions=3, erode=1, dilate=2)
    raw, refined = (
        region_segments(vectors, values, (12, 15), [geometry], config, [0], refiners)[0]
        for refiners in (None, [Refiner(image, FAST)])
    )
    boxes = {segment.index: segment.bbox for segment in raw}
    assert all(segment.bbox == boxes[segment.index] for segment in refined)


def test_specks_smaller_than_a_cell_are_no_objects() -> None:
    truth = disc(160, 160)
    truth[150:155, 3:8] = True  # 25 pixels, a cell has 256
    values, geometry = coarse_grid(truth)
    values[9, 0] = 0.5
    found = object_segments(
        fiedler(values),
        values.shape,
        [geometry],
        ObjectConfig(),
        [Refiner(photograph(truth), FAST)],
    )[0]
    assert len(found) == 1


def test_objects_that_vanish_stay_as_they_were() -> None:
    values = np.full((10, 10), -0.5)
    values[4, 4] = 0.5
    geometry = ImageGeometry(160, 160, 160, 160, PATCH, 10, 10)
    flat = np.full((160, 160, 3), 99, np.uint8)
    arguments = fiedler(values), values.shape, [geometry], ObjectConfig()
    assert object_segments(*arguments, [Refiner(flat, EXACT)]) == object_segments(*arguments)


def test_whole_image_stays_whole() -> None:
    labels = np.full((40, 50), 7)
    np.testing.assert_array_equal(Refiner(np.zeros((40, 50, 3), np.uint8), FAST)(labels), labels)


def test_refining_at_another_size_gives_masks_of_the_original_one() -> None:
    truth = disc(406, 500)
    small = np.ascontiguousarray(photograph(truth)[::2, ::2])
    values, _ = coarse_grid(truth[::2, ::2])
    geometry = ImageGeometry(406, 500, 203, 250, PATCH, *values.shape)
    for image, least in ((small, 0.985), (photograph(truth), 0.999)):
        (found,) = object_segments(
            fiedler(values), values.shape, [geometry], ObjectConfig(), [Refiner(image, FAST)]
        )[0]
        mask = coco_mask.decode(found.rle).astype(bool)
        assert mask.shape == truth.shape
        assert iou(mask, truth) > least


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.sampled_from([FAST, EXACT]))
def test_any_size_keeps_its_labels(
    height: int, width: int, count: int, config: RefineConfig
) -> None:
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = rng.integers(-1, count, (height, width))
    refined = Refiner(image, config)(labels)
    assert refined.shape == labels.shape
    assert set(np.unique(refined)) <= set(np.unique(labels))


def test_names_of_the_labels_do_not_matter() -> None:
    truth = disc(100, 120)
    refiner, labels = Refiner(photograph(truth), FAST), truth.astype(np.int64)
    inverse = 1 - refiner(labels)
    np.testing.assert_array_equal(refiner(1 - labels), inverse)


@pytest.mark.parametrize(
    ("size", "seen", "expected"),
    [
        (None, (240, 320), None),
        (240, (240, 320), None),
        (480, (240, 320), 480),
        (900, (240, 320), 600),
    ],
)
def test_size_of_refinement_is_at_most_the_original(
    size: int | None, seen: tuple[int, int], expected: int | None
) -> None:
    config = dataclasses.replace(FAST, refine_size=size)
    assert config.short_side(seen, 600, 800) == expected


def test_too_small_a_size_is_refused() -> None:
    with pytest.raises(ValueError, match="--refine-size must be at least 16"):
        RefineConfig(refine_size=8)
