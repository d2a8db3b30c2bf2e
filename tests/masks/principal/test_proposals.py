"""Proposals on the grid: what holds for all of them, and agreement with the published loop."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones import BackboneConfig, build_backbone
from specray.masks import PrincipalConfig, majority_filter, principal_masks
from specray.pipelines.benchmark.images import pixels_of
from tests.masks.principal.cases import (
    noise_features,
    planted,
    published_loop,
    published_median,
)

PAPER = PrincipalConfig()


def quarters(side: int = 12) -> NDArray[np.int64]:
    """(side, side): four parts of different sizes."""
    y, x = np.mgrid[:side, :side]
    return np.asarray((y > side // 3) * 2 + (x > side // 2), np.int64)


def same_partition(a: NDArray[np.int64], b: NDArray[np.int64]) -> bool:
    pairs = set(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    return len(pairs) == len(np.unique(a)) == len(np.unique(b))


def test_parts_of_one_kind_are_the_masks() -> None:
    parts = quarters()
    found = principal_masks(planted(parts), PAPER)
    assert same_partition(found.labels.numpy(), parts.ravel())
    assert (found.scores > 0.9).all()
    assert found.scores.shape == (1, 4)


@pytest.mark.parametrize(("left", "masks"), [(19, 2), (20, 2), (21, 3)])
def test_masks_end_where_95_percent_of_400_cells_belong_to_one(left: int, masks: int) -> None:
    parts = np.repeat([0, 1], [250, 150])
    parts[:left] = 2
    labels = principal_masks(planted(parts), PAPER).labels[0].numpy()
    assert labels.max() + 1 == masks
    assert (labels[:left] == 2).all() or (labels[:left] == -1).all()


def test_an_even_image_is_one_mask() -> None:
    found = principal_masks(torch.ones(1, 30, 8) * torch.arange(1, 9), PAPER)
    assert (found.labels == 0).all()
    torch.testing.assert_close(found.scores, torch.ones(1, 1))


def test_features_of_nothing_are_masks_of_a_cell() -> None:
    found = principal_masks(torch.zeros(1, 6, 4), PAPER)
    assert sorted(found.labels[0].tolist()) == [0, 1, 2, 3, 4, 5]
    assert (found.scores == 0).all()


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 60), st.integers(1, 20)),
    threshold=st.floats(0, 1),
    most=st.integers(1, 70),
    kinds=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_any_features_give_disjoint_masks_that_cover(
    shape: tuple[int, int, int], threshold: float, most: int, kinds: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(shape, generator=generator)
    if kinds:  # cells that are equal, and some of nothing
        features = features[:, torch.randint(0, min(kinds, shape[1]), (shape[1],))]
        features[:, 0] = 0
    found = principal_masks(features, PrincipalConfig(threshold, most))
    for labels, scores, capped in zip(found.labels, found.scores, found.capped, strict=True):
        assigned, count = int((labels >= 0).sum()), int(labels.max()) + 1
        assert set(range(count)) <= set(labels.tolist())  # each step takes a cell
        assert count <= most
        assert bool(capped) == (20 * assigned < 19 * shape[1])
        assert not capped or count == most
        assert ((scores >= 0) & (scores <= 1)).all()
        assert (scores[count:] == 0).all()


def test_the_cap_is_told() -> None:
    features = torch.randn(2, 200, 64, generator=torch.Generator().manual_seed(0))
    features[1] = features[1, 0]
    found = principal_masks(features, replace(PAPER, primaps=5))
    assert found.capped.tolist() == [True, False]
    assert found.labels.amax(1).tolist() == [4, 0]


@pytest.mark.parametrize("change", ["scale", "rotation", "order"])
def test_it_does_not_matter_how_features_are_written(change: str) -> None:
    features = noise_features(2, 120, 40)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    rotation = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(2)))[0]
    expected = principal_masks(features, PAPER).labels
    if change == "order":
        assert torch.equal(principal_masks(features[:, order], PAPER).labels, expected[:, order])
        return
    scaled = [features * 1e-25, features * 1e25]
    for changed in scaled if change == "scale" else [features @ rotation]:
        assert torch.equal(principal_masks(changed, PAPER).labels, expected)


def test_a_higher_threshold_never_enlarges_the_first_mask() -> None:
    features = noise_features(3, 200, 40)
    firsts = [
        principal_masks(features, PrincipalConfig(threshold)).labels == 0
        for threshold in (0.0, 0.2, 0.4, 0.6, 0.8, 0.99)
    ]
    for wider, narrower in pairwise(firsts):
        assert not (narrower & ~wider).any()
    assert firsts[0].sum() > firsts[-1].sum()


def test_at_a_threshold_of_nearly_1_a_mask_is_its_anchor_and_its_doubles() -> None:
    features = noise_features(1, 50, 30)[:, torch.arange(50) // 2]
    labels = principal_masks(features, PrincipalConfig(1 - 1e-6)).labels[0]
    assert (labels[::2] == labels[1::2]).all()
    assert labels.max() >= 23


@pytest.mark.parametrize("common", [0.0, 1.0, 5.0])
def test_a_batch_gives_what_its_images_give_alone_in_any_order(common: float) -> None:
    features = noise_features(5, 150, 48, common)
    together = principal_masks(features, PAPER)
    for i, image in enumerate(features):
        assert torch.equal(principal_masks(image[None], PAPER).labels[0], together.labels[i])
    order = [3, 0, 4, 1, 2]
    assert torch.equal(principal_masks(features[order], PAPER).labels, together.labels[order])


def padded(features: Tensor) -> Tensor:
    """Labels by the code for accelerators, which takes images of a batch together."""
    from specray.masks.principal.proposals import _taken

    return _taken(features, PAPER).labels


@pytest.mark.parametrize("common", [0.0, 1.0, 5.0])
def test_images_that_are_taken_together_get_the_same(common: float) -> None:
    features = noise_features(5, 150, 48, common)
    assert torch.equal(padded(features), principal_masks(features, PAPER).labels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same() -> None:
    features = noise_features(5, 150, 48)
    found = principal_masks(features.cuda(), PAPER)
    assert found.labels.is_cuda
    assert torch.equal(found.labels.cpu(), principal_masks(features, PAPER).labels)


@pytest.mark.parametrize("threshold", [0.4, 0.35, 0.7])
@pytest.mark.parametrize("common", [0.0, 1.0, 5.0])
def test_proposals_of_mixtures_are_those_of_the_published_loop(
    threshold: float, common: float
) -> None:
    features = noise_features(8, 220, 64, common)
    found = principal_masks(features, PrincipalConfig(threshold, 220)).labels
    for image, labels in zip(features, found, strict=True):
        np.testing.assert_array_equal(labels, published_loop(image, threshold))


def test_proposals_of_real_images_are_those_of_the_published_loop(
    assets: Path, vit_tiny: Path
) -> None:
    config = BackboneConfig("vit_tiny_patch16_224", feature="token")
    backbone = build_backbone(config, vit_tiny.read_bytes(), vit_tiny.name, "cpu")
    folders = ("camvid/*/images", "coco_tiny/val2017", "davis2016_val/images/*", "kangaroo/images")
    found = [sorted((assets / "data").glob(f"{folder}/*")) for folder in folders]
    paths = [path for files in found for path in files[:: len(files) // 13][:13]]
    assert len(paths) >= 50
    for path in paths:
        pixels = pixels_of(path, 16, short_side=224)
        grid = pixels.shape[2] // 16, pixels.shape[3] // 16
        with torch.inference_mode():
            features = backbone(pixels)
        labels = principal_masks(features, PAPER).labels.numpy().reshape(grid)
        expected = published_loop(features[0], 0.4).reshape(grid)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(majority_filter(labels), published_median(expected))


def test_real_photographs_have_a_handful_to_twenty_proposals(assets: Path, vit_tiny: Path) -> None:
    config = BackboneConfig("vit_tiny_patch16_224", feature="token")
    backbone = build_backbone(config, vit_tiny.read_bytes(), vit_tiny.name, "cpu")
    paths = sorted((assets / "data" / "coco_tiny" / "val2017").glob("*"))[:6]
    assert len(paths) == 6
    for path in paths:
        with torch.inference_mode():
            features = backbone(pixels_of(path, 16, short_side=320))
        loose, paper = (principal_masks(features, PrincipalConfig(at)) for at in (0.35, 0.4))
        for found in (loose, paper):
            assert 2 <= int(found.labels.max()) + 1 <= 20
            assert not bool(found.capped)
            assert 20 * int((found.labels < 0).sum()) <= found.labels.numel()
