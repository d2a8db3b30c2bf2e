"""Prototypes in place of features, on the descriptor."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from specray.backbones import DescriptorBackbone
from specray.semantics.prototypes.scoring import ClassScores

BACKBONE = DescriptorBackbone()


@pytest.fixture(scope="module")
def image() -> Tensor:
    """(1, 3, 96, 128)."""
    crop = np.ascontiguousarray(skimage.data.astronaut()[:96, 100:228])
    return torch.from_numpy(crop).permute(2, 0, 1)[None]


@pytest.fixture(scope="module")
def head(image: Tensor) -> Tensor:
    channels = BACKBONE(image).shape[-1]
    return torch.randn(5, channels, generator=torch.Generator().manual_seed(0))


def test_differences_of_scores_are_those_of_the_head(image: Tensor, head: Tensor) -> None:
    scores = ClassScores(BACKBONE, head.numpy(), mirror=False)(image)
    expected = BACKBONE(image) @ head.T
    torch.testing.assert_close(scores - scores[..., :1], expected - expected[..., :1])
    assert (scores.amax(dim=-1) == 0).all()


def test_scores_of_the_mirror_image_are_the_mirrored_scores(image: Tensor, head: Tensor) -> None:
    grid = (1, 96 // BACKBONE.patch_size, 128 // BACKBONE.patch_size, 5)
    scores = ClassScores(BACKBONE, head.numpy(), mirror=True)
    turned = scores(image.flip(-1)).reshape(grid).flip(2)
    torch.testing.assert_close(turned, scores(image).reshape(grid), atol=1e-5, rtol=0)


def test_averaging_is_of_the_features_of_both_images(image: Tensor, head: Tensor) -> None:
    side = BACKBONE.patch_size
    grid = (1, 96 // side, 128 // side, -1)
    mirrored = BACKBONE(image.flip(-1)).reshape(grid).flip(2)
    expected = (BACKBONE(image).reshape(grid) + mirrored) / 2 @ head.T
    found = ClassScores(BACKBONE, head.numpy(), mirror=True)(image).reshape(expected.shape)
    torch.testing.assert_close(found - found[..., :1], expected - expected[..., :1])
