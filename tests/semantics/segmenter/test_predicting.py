"""Whole images and windows: what is covered, and what nothing depends on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from specray.semantics.segmenter.config import Network
from specray.semantics.segmenter.predicting import window_starts, windowed_logits
from specray.semantics.segmenter.scoring import SegmenterScores
from tests.semantics.segmenter.cases import NETWORKS, small


def images(count: int = 3, height: int = 72, width: int = 90) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, height, width), generator=random, dtype=torch.uint8)


@pytest.mark.parametrize("window", [None, 48])
@pytest.mark.parametrize("network", NETWORKS)
def test_an_image_has_the_same_scores_in_any_company(network: Network, window: int | None) -> None:
    scores, whole = SegmenterScores(small(network), "segmenter", window), images(3, 80, 96)
    together = scores(whole)
    for i in (2, 0):
        assert torch.equal(scores(whole[i : i + 1])[0], together[i])


@pytest.mark.parametrize("network", NETWORKS)
def test_one_window_that_covers_the_image_is_the_whole_image(network: Network) -> None:
    built, x = small(network), images(1)
    with torch.inference_mode():
        whole = built.grid_logits(x)
    for window in (96, 300):
        assert torch.equal(windowed_logits(built, x, window), whole)


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


@pytest.mark.parametrize("network", NETWORKS)
def test_a_cell_has_the_mean_of_the_windows_that_show_it(network: Network) -> None:
    built, x = small(network), images(1, 64, 96)
    found = windowed_logits(built, x, 64 + built.stride // 3)
    with torch.inference_mode():
        left, right = built.grid_logits(x[..., :64]), built.grid_logits(x[..., 32:])
    cells = 32 // built.cell
    torch.testing.assert_close(found[..., :cells], left[..., :cells])
    torch.testing.assert_close(found[..., -cells:], right[..., -cells:])
    both = (left[..., cells:] + right[..., : left.shape[-1] - cells]) / 2
    torch.testing.assert_close(found[..., cells : 2 * cells], both)


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
