"""The backbone without weights: its contract, and that the pipeline finds objects with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut, coffee
from torch import Tensor

from specray.backbones import DescriptorBackbone
from specray.evaluation import box_iou, centred_box, voc_boxes
from specray.masks import object_labels
from specray.spectral import SpectralConfig, decompose

BACKBONE = DescriptorBackbone()
PATCH = BACKBONE.patch_size


def as_images(pixels: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) to (1, 3, H', W'), cropped to whole patches."""
    height, width = (side // PATCH * PATCH for side in pixels.shape[:2])
    return torch.from_numpy(pixels[:height, :width].copy()).permute(2, 0, 1)[None]


def found_mask(images: Tensor) -> NDArray[np.bool_]:
    """(h, w) the largest object of the ordinary spectral pipeline."""
    grid = images.shape[2] // PATCH, images.shape[3] // PATCH
    features = BACKBONE(images)
    pairs, grid = decompose(features, grid, PATCH, SpectralConfig(eigenvectors=2))
    mask: NDArray[np.bool_] = object_labels(pairs.vectors, grid)[0] == 1
    return mask


def found_box(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(1, 4) the box of that object in pixels."""
    rows, columns = np.nonzero(found_mask(as_images(pixels)))
    corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return np.array([corners]) * PATCH


def kangaroo_boxes(assets: Path, stem: str) -> NDArray[np.float64]:
    root = ElementTree.parse(assets / f"data/kangaroo/annotations/{stem}.xml").getroot()
    corners = ("xmin", "ymin", "xmax", "ymax")
    boxes = [[float(box.findtext(c, "")) for c in corners] for box in root.iter("bndbox")]
    return voc_boxes(boxes)


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (7, 1), (3, 2), (5, 9), (17, 23)])
def test_every_patch_of_any_grid_gets_one_unit_feature(grid: tuple[int, int]) -> None:
    size = (2, 3, grid[0] * PATCH, grid[1] * PATCH)
    images = torch.randint(256, size, generator=torch.Generator().manual_seed(0))
    features = BACKBONE(images.to(torch.uint8))
    assert features.shape == (2, grid[0] * grid[1], 258)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=2), torch.ones(features.shape[:2]))


def test_features_of_an_image_do_not_depend_on_its_batch() -> None:
    images = torch.cat([as_images(astronaut()[:320, :480]), as_images(coffee()[:320, :480])])
    together = BACKBONE(images)
    assert torch.equal(together[:1], BACKBONE(images[:1]))
    assert torch.equal(together[1:], BACKBONE(images[1:]))


def test_features_are_the_same_at_every_call() -> None:
    images = as_images(coffee())
    assert torch.equal(BACKBONE(images), BACKBONE(images))


@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_constant_image_has_finite_features_all_alike(value: int) -> None:
    images = torch.full((1, 3, 5 * PATCH, 8 * PATCH), value, dtype=torch.uint8)
    features = BACKBONE(images)[0]
    torch.testing.assert_close(features, features[:1].expand_as(features), atol=1e-5, rtol=0)


def test_a_plain_object_on_a_grainy_ground_is_found_to_the_patch() -> None:
    noise = np.random.default_rng(0).integers(-20, 21, (20 * PATCH, 24 * PATCH, 3))
    pixels = np.clip(np.array([90, 130, 90]) + noise, 0, 255).astype(np.uint8)
    pixels[6 * PATCH : 13 * PATCH, 9 * PATCH : 15 * PATCH] = [200, 60, 40]
    expected = np.zeros((20, 24), dtype=bool)
    expected[6:13, 9:15] = True
    assert (found_mask(as_images(pixels)) == expected).all()


@pytest.mark.parametrize(
    ("photograph", "box", "overlap"),
    [
        pytest.param(astronaut, (20, 15, 512, 512), 0.5, id="astronaut with her helmet"),
        pytest.param(coffee, (75, 15, 480, 385), 0.8, id="cup on its saucer"),
    ],
)
def test_the_object_of_a_photograph_is_found(
    photograph: Callable[[], Any], box: tuple[int, int, int, int], overlap: float
) -> None:
    assert box_iou(found_box(photograph()), [box]).item() >= overlap


def test_objects_are_found_better_than_by_a_centred_box(assets: Path) -> None:
    found = centred = 0
    images = sorted((assets / "data/kangaroo/images").glob("*.jpg"))
    for image in images:
        pixels = np.asarray(Image.open(image).convert("RGB"))
        boxes = kangaroo_boxes(assets, image.stem)
        height, width = pixels.shape[:2]
        found += box_iou(found_box(pixels), boxes).max() >= 0.5
        centred += box_iou([centred_box(height, width, 0.7)], boxes).max() >= 0.5
    assert found > 1.2 * centred
