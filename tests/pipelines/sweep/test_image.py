"""The scores of a combination are those of the plain road, one backbone for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.backbones import VitBackbone, parse_weights
from specray.backbones.taps import VitTaps
from specray.evaluation import FIXED, corloc, foreground
from specray.masks import ImageGeometry, ObjectConfig, object_segments
from specray.pipelines.preparing import Prepared
from specray.pipelines.sweep.combinations import Combination, grid_of
from specray.pipelines.sweep.image import ObjectFinder
from specray.pipelines.sweep.scoring import image_scores, object_box
from specray.spectral import SpectralConfig, decompose
from tests.pipelines.photographs import photograph
from tests.pipelines.sweep.cases import BACKBONE, DEPTH

GRID = grid_of(
    [0, 2, -1], ["k", "token"], [0.0, 10.0], ["minority", "border"], ["kept", "zeroed"], DEPTH
)


@pytest.fixture(scope="module")
def image() -> Prepared:
    """With a remainder at the right and at the bottom, brought to another size."""
    whole = photograph(3)
    pixels = np.asarray(whole.resize((150, 135)))
    return Prepared("a.jpg", pixels, 2 * 135, 2 * 150)


@pytest.fixture(scope="module")
def state(encoder: Path) -> dict[str, torch.Tensor]:
    return parse_weights(encoder.read_bytes(), str(encoder))


@pytest.fixture(scope="module")
def labels(image: Prepared, state: dict[str, torch.Tensor]) -> list[NDArray[np.int64]]:
    taps = dict.fromkeys((each.block, each.feature) for each in GRID)
    finder = ObjectFinder(VitTaps(BACKBONE, state, taps), GRID)
    return finder(np.ascontiguousarray(image.whole_patches(16)))


def geometry_of(image: Prepared) -> ImageGeometry:
    return image.geometry(16, (135 // 16, 150 // 16))


@pytest.mark.parametrize("one", [each for each in GRID if each.in_segment], ids=str)
def test_scores_are_those_of_segments(
    image: Prepared,
    state: dict[str, torch.Tensor],
    labels: list[NDArray[np.int64]],
    one: Combination,
) -> None:
    backbone = VitBackbone(BACKBONE, state, feature=one.feature, block=one.block)
    pixels = torch.from_numpy(image.whole_patches(16).copy()).permute(2, 0, 1)[None]
    config = SpectralConfig(color_lambda=one.color_lambda)
    pairs, grid = decompose(backbone(pixels), (8, 9), 16, config, pixels)
    geometry = geometry_of(image)
    (segments,) = object_segments(pairs.vectors, grid, [geometry], ObjectConfig())
    place = GRID.index(one)

    top, left, bottom, right = segments[0].cells or (0, 0, 0, 0)
    box = 32.0 * np.array([left, top, right, bottom])
    np.testing.assert_array_equal(object_box(labels[place], geometry), box)
    truth = np.array([[40.0, 30.0, 200.0, 220.0]])
    y, x = np.mgrid[:270, :300]
    mask = (x - 150) ** 2 + (y - 120) ** 2 < 80**2
    union = coco_mask.decode(coco_mask.merge([vars(s)["rle"] for s in segments]))
    expected = foreground(union.astype(np.bool_), mask)
    scores = image_scores(labels, geometry, truth, mask)
    assert scores.hits is not None and scores.ious is not None
    assert scores.hits[place] == corloc(box, truth).hits
    assert scores.ious[place] == round(expected.iou * FIXED)


def test_zeroed_corners_are_background(image: Prepared, labels: list[NDArray[np.int64]]) -> None:
    for one, found in zip(GRID, labels, strict=True):
        assert found.shape == (8, 9)
        if one.corners == "zeroed":
            assert not found[[0, 0, -1, -1], [0, -1, 0, -1]].any() or found.all()


def test_a_truth_that_is_the_object_scores_all(
    image: Prepared, labels: list[NDArray[np.int64]]
) -> None:
    geometry = geometry_of(image)
    box = object_box(labels[0], geometry)[None]
    scores = image_scores(labels[:1], geometry, box, None)
    assert scores.ious is None
    assert scores.hits is not None and scores.hits.tolist()[0] == 1
    nothing = image_scores(labels[:1], geometry, np.empty((0, 4)), np.zeros((270, 300), np.bool_))
    assert nothing.hits is None
    assert nothing.ious is not None and nothing.ious.tolist() == [0, 0]


def test_a_single_patch_is_an_object(state: dict[str, torch.Tensor]) -> None:
    finder = ObjectFinder(
        VitTaps(BACKBONE, state), grid_of([], ["k"], [0.0], ["border"], ["kept"], 6)
    )
    for found in finder(np.zeros((16, 16, 3), np.uint8)):
        assert found.tolist() == [[1]]
