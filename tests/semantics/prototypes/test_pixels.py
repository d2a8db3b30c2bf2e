"""What pixels say, in compiled code and in torch, against interpolated features and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from specray.semantics.prototypes.pixels import (
    NONE,
    Backend,
    cross_entropy,
    mask_votes,
    softmax_sums,
)

SIZES = [((5, 7), (80, 112)), ((1, 1), (16, 16)), ((4, 3), (13, 50)), ((20, 20), (20, 20))]

both = pytest.mark.parametrize("backend", ["compiled", "torch"])
sizes = pytest.mark.parametrize(("grid", "size"), SIZES)


def case(
    grid: tuple[int, int], size: tuple[int, int], classes: int = 4, masks: int = 3
) -> tuple[Tensor, Tensor]:
    """Scores (2, K, h, w) and masks (2, H, W) of which a part is none."""
    random = torch.Generator().manual_seed(grid[0] * 100 + size[1])
    scores = 4 * torch.randn(2, classes, *grid, generator=random)
    ids = torch.randint(0, masks + 1, (2, *size), generator=random)
    return scores, torch.where(ids == masks, NONE, ids).to(torch.uint8)


def upsampled(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)


def test_projecting_then_upsampling_is_upsampling_then_projecting() -> None:
    random = torch.Generator().manual_seed(0)
    features = 10 * torch.randn(1, 32, 5, 7, generator=random)
    head = torch.randn(6, 32, generator=random)
    first = upsampled(torch.einsum("kc,bchw->bkhw", head, features), (80, 112))
    last = torch.einsum("kc,bchw->bkhw", head, upsampled(features, (80, 112)))
    torch.testing.assert_close(first, last, atol=1e-3, rtol=0)
    assert (first.argmax(1) == last.argmax(1)).all()


@both
@sizes
def test_votes_are_those_of_a_loop_over_masks(
    grid: tuple[int, int], size: tuple[int, int], backend: Backend
) -> None:
    scores, masks = case(grid, size)
    best = upsampled(scores, size).argmax(dim=1)
    votes = mask_votes(scores, masks, 3, backend)
    for image in range(2):
        for mask in range(3):
            expected = np.bincount(best[image][masks[image] == mask].numpy(), minlength=4)
            np.testing.assert_array_equal(votes[image, mask].numpy(), expected)
    assert int(votes.sum()) == int((masks != NONE).sum())


@both
def test_equal_scores_vote_for_the_smallest_class(backend: Backend) -> None:
    masks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    votes = mask_votes(torch.ones(1, 5, 2, 2), masks, 1, backend)
    assert votes[0, 0].tolist() == [64, 0, 0, 0, 0]


@both
def test_votes_do_not_depend_on_how_masks_are_numbered(backend: Backend) -> None:
    scores, masks = case((5, 7), (80, 112))
    other = torch.tensor([2, 0, 1])
    renumbered = torch.where(masks == NONE, NONE, other[masks.long().clamp_max(2)]).byte()
    votes = mask_votes(scores, masks, 3, backend)
    assert torch.equal(mask_votes(scores, renumbered, 3, backend)[:, other], votes)


@both
@sizes
def test_softmax_sums_are_those_of_all_pixels(
    grid: tuple[int, int], size: tuple[int, int], backend: Backend
) -> None:
    scores, _ = case(grid, size)
    expected = upsampled(scores.double(), size).softmax(dim=1).sum(dim=(2, 3))
    torch.testing.assert_close(softmax_sums(scores, size, backend), expected, rtol=2e-6, atol=1e-5)


@both
@sizes
def test_cross_entropy_and_its_gradient_are_those_of_autograd(
    grid: tuple[int, int], size: tuple[int, int], backend: Backend
) -> None:
    scores, masks = case(grid, size)
    targets = torch.tensor([[3, 0, 1], [2, 2, 0]])
    weights = torch.tensor([[0.5, 1.0, 0.0], [2.0, 0.25, 1.5]])
    leaf = scores.double().requires_grad_()
    chosen = masks.long().clamp_max(2).flatten(1)
    valid = (masks != NONE).flatten(1)
    logits = upsampled(leaf, size).flatten(2)
    each = F.cross_entropy(logits, targets.gather(1, chosen), reduction="none")
    expected = (each * weights.gather(1, chosen) * valid).sum(dim=1)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    loss, gradient = cross_entropy(scores, masks, targets, weights, backend)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=1e-4)


@both
def test_pixels_without_a_mask_have_neither_loss_nor_gradient(backend: Backend) -> None:
    scores, masks = case((5, 7), (80, 112))
    nothing = torch.full_like(masks, NONE)
    loss, gradient = cross_entropy(
        scores, nothing, torch.zeros(2, 1, dtype=torch.int64), torch.ones(2, 1), backend
    )
    assert not loss.any()
    assert not gradient.any()
