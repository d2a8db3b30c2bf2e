"""Whole images and windows: what is covered, and what nothing depends on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from specray.semantics.segmenter.config import Network
from specray.semantics.segmenter.predicting import resized_logits, sliding_logits, window_starts
from specray.semantics.segmenter.scoring import SegmenterScores
from tests.semantics.segmenter.cases import NETWORKS, small


def images(count: int = 3, height: int = 72, width: int = 90) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=random, dtype=torch.uint8)


@pytest.mark.parametrize("network", NETWORKS)
def test_an_image_has_the_same_logits_in_any_company(network: Network) -> None:
    built, whole = small(network), images()
    for predict in (
        lambda x: resized_logits(built, x, 64),
        lambda x: sliding_logits(built, x, 48, 32),
        SegmenterScores(built, "segmenter"),
    ):
        together = predict(whole)
        for i in (2, 0):
            assert torch.equal(predict(whole[i : i + 1])[0], together[i])


@pytest.mark.parametrize("network", NETWORKS)
def test_one_window_that_covers_the_image_is_the_whole_image(network: Network) -> None:
    built, x = small(network), images(1)
    assert torch.equal(sliding_logits(built, x, 90, 45), resized_logits(built, x))
    assert torch.equal(sliding_logits(built, x, 300, 20, 80), resized_logits(built, x, 80))


def test_windows_cover_a_side_and_end_where_it_does() -> None:
    for length in range(1, 60):
        for window in (5, 16, 70):
            for stride in (3, 5):
                starts = window_starts(length, window, min(stride, window))
                seen = {p for start in starts for p in range(start, min(start + window, length))}
                assert seen == set(range(length))
                assert starts == sorted(set(starts)) and starts[-1] + window in (
                    length,
                    max(length, window),
                )


def test_a_pixel_has_the_mean_of_the_windows_that_show_it() -> None:
    built, x = small("vit-linear"), images(1, 64, 96)
    found = sliding_logits(built, x, 64, 32)
    with torch.inference_mode():
        left, right = built(x[..., :64]), built(x[..., 32:])
    torch.testing.assert_close(found[..., :32], left[..., :32])
    torch.testing.assert_close(found[..., 64:], right[..., 32:])
    torch.testing.assert_close(found[..., 32:64], (left[..., 32:] + right[..., :32]) / 2)


def test_logits_of_a_resized_image_have_its_own_size() -> None:
    built, x = small("vit-linear"), images(1, 100, 140)
    found = resized_logits(built, x, 50)
    smaller = interpolate(x.float(), size=(50, 70), mode="bicubic", antialias=True).clamp(0, 255)
    with torch.inference_mode():
        expected = interpolate(built(smaller), size=(100, 140), mode="bilinear")
    torch.testing.assert_close(found, expected)


def test_a_stride_that_leaves_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="a stride of 65 pixels for windows of 64"):
        sliding_logits(small("vit-linear"), images(1), 64, 65)


@pytest.mark.parametrize("network", NETWORKS)
def test_scores_stand_for_logits_in_the_place_of_a_backbone(network: Network) -> None:
    built = small(network)
    x = images(1, 7 * built.cell, 9 * built.cell)
    scores = SegmenterScores(built, "segmenter")
    found = scores(x)
    assert found.shape == (1, 63, built.classes) and scores.patch_size == built.cell
    assert float(found.amax(dim=-1).abs().max()) == 0
    with torch.inference_mode():
        best = built.grid_logits(x)[0, :, :7, :9].argmax(dim=0)
    assert torch.equal(found[0].argmax(dim=-1).view(7, 9), best)
