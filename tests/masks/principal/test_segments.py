"""Proposals as segments, in patches and refined."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from skimage import data

from specray.masks import (
    PRIMAPS_CRF,
    ImageGeometry,
    PrincipalConfig,
    RefineConfig,
    Refiner,
    Segment,
    label_energies,
    majority_filter,
    principal_masks,
    principal_segments,
    to_image,
)
from tests.masks.cases import native
from tests.masks.crf.cases import pydensecrf_marginals
from tests.masks.principal.cases import planted, published_energies

PAPER = PrincipalConfig()


def photograph(name: str, patches: int = 12) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A photograph of whole patches of 16 pixels, and three kinds of brightness of these."""
    image = np.ascontiguousarray(getattr(data, name)()[: 16 * patches, : 16 * (patches + 4), :3])
    h, w = image.shape[0] // 16, image.shape[1] // 16
    light = image.reshape(h, 16, w, 16, 3).mean(axis=(1, 3, 4))
    return image, np.digitize(light, np.quantile(light, [0.4, 0.8])).astype(np.int64)


def refiner(image: NDArray[np.uint8], refine: Literal["fast", "crf"]) -> Refiner:
    return Refiner(image, RefineConfig(refine, crf=PRIMAPS_CRF))


def label_map(segments: list[Segment], size: tuple[int, int]) -> NDArray[np.int64]:
    """(H, W): the index of the segment of every pixel, -1 where there is none."""
    labels = np.full(size, -1)
    for segment in segments:
        mask = coco_mask.decode(segment.rle).astype(bool)
        assert (labels[mask] == -1).all()  # masks are disjoint
        labels[mask] = segment.index
    return labels


@pytest.mark.parametrize("size", [(192, 256), (203, 250), (400, 500)])
def test_without_refinement_masks_are_whole_patches(size: tuple[int, int]) -> None:
    _, parts = photograph("astronaut")
    geometry = ImageGeometry(*size, 200, 260, 16, *parts.shape)
    features = planted(parts)
    (segments,) = principal_segments(features, parts.shape, [geometry], PAPER)
    cells = majority_filter(principal_masks(features, PAPER).labels.numpy().reshape(parts.shape))
    np.testing.assert_array_equal(label_map(segments, size), to_image(cells, geometry))
    assert {segment.method for segment in segments} == {"primap"}
    assert all(0.9 < segment.score <= 1 for segment in segments)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_exact_refinement_is_what_pydensecrf_makes_of_the_published_energies(name: str) -> None:
    image, parts = photograph(name)
    features, size = planted(parts), image.shape[:2]
    (segments,) = principal_segments(
        features, parts.shape, [native(size[0], size[1], 16)], PAPER, [refiner(image, "crf")]
    )
    labels = principal_masks(features, PAPER).labels.numpy().reshape(parts.shape)
    energies = published_energies(majority_filter(labels), int(labels.max()) + 1, size)
    marginals = pydensecrf_marginals(torch.from_numpy(image), energies, PRIMAPS_CRF)
    agreement = (label_map(segments, size) == marginals.argmax(0).numpy() - 1).mean()
    assert agreement > 0.9999


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_fast_refinement_is_nearly_the_exact_one(name: str) -> None:
    image, parts = photograph(name)
    size = image.shape[:2]
    raw, fast, exact = (
        label_map(
            principal_segments(
                planted(parts), parts.shape, [native(size[0], size[1], 16)], PAPER, how
            )[0],
            size,
        )
        for how in (None, [refiner(image, "fast")], [refiner(image, "crf")])
    )
    assert (fast == exact).mean() > 0.93
    assert (fast == exact).mean() > (raw == exact).mean() + 0.05


def test_soft_and_hard_labels_of_the_same_energies_are_refined_alike() -> None:
    image, parts = photograph("astronaut")
    labels = to_image(parts, native(image.shape[0], image.shape[1], 16))
    energies = label_energies(torch.from_numpy(labels)[None], 3)[0].numpy()
    for refine in ("fast", "crf"):
        found = Refiner(image, RefineConfig(refine))
        np.testing.assert_array_equal(found.best(energies), found(labels))


def test_what_belongs_to_no_mask_is_no_segment() -> None:
    image, _ = photograph("astronaut", 6)
    grid = 6, 10
    parts = np.arange(60).reshape(grid)  # every patch is alone: the filter takes all
    features = planted(parts, channels=60)
    for refiners in (None, [refiner(image, "crf")], [refiner(image, "fast")]):
        assert principal_segments(features, grid, [native(96, 160, 16)], PAPER, refiners) == [[]]


@pytest.mark.parametrize("refine", ["fast", "crf"])
def test_an_even_image_is_one_segment(refine: Literal["fast", "crf"]) -> None:
    image = np.full((67, 83, 3), 120, np.uint8)
    geometry = native(67, 83, 16)
    features = torch.ones(1, geometry.grid_h * geometry.grid_w, 8)
    grid = geometry.grid_h, geometry.grid_w
    (segments,) = principal_segments(features, grid, [geometry], PAPER, [refiner(image, refine)])
    assert [(segment.index, segment.area) for segment in segments] == [(0, 67 * 83)]


@pytest.mark.parametrize("refine", ["fast", "crf"])
def test_refined_at_another_size_masks_are_of_the_original_one(
    refine: Literal["fast", "crf"],
) -> None:
    image, parts = photograph("astronaut")
    features, geometry = planted(parts), ImageGeometry(401, 530, 192, 256, 16, *parts.shape)
    small = principal_segments(features, parts.shape, [geometry], PAPER, [refiner(image, refine)])
    larger = np.ascontiguousarray(image.repeat(2, axis=0).repeat(2, axis=1))
    large = principal_segments(features, parts.shape, [geometry], PAPER, [refiner(larger, refine)])
    maps = [label_map(segments, (401, 530)) for (segments,) in (small, large)]
    assert (maps[0] == maps[1]).mean() > 0.85
