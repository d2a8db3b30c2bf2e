"""Cross entropy of pixels against torch's of the whole batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from specray.semantics.segmenter.loss import IGNORED, class_weights, pixel_loss, sure_labels

CLASSES = 5


def case(seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, CLASSES, 6, 7, generator=random, dtype=torch.float64)
    labels = torch.randint(0, CLASSES + 1, (4, 6, 7), generator=random)
    return logits, torch.where(labels == CLASSES, IGNORED, labels).to(torch.uint8)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.2, 1, 3, 0, 2], dtype=torch.float64)])
def test_loss_and_slope_are_those_of_torch(weights: Tensor | None) -> None:
    logits, labels = case()
    own, reference = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = pixel_loss(own, labels, weights)
    expected = F.cross_entropy(reference, labels.long(), weights, ignore_index=IGNORED)
    (found.loss / found.weight).backward()
    expected.backward()
    torch.testing.assert_close(found.loss / found.weight, expected)
    torch.testing.assert_close(own.grad, reference.grad)


def test_sums_of_parts_add_up_to_that_of_the_batch() -> None:
    logits, labels = case()
    parts = [pixel_loss(logits[i::2], labels[i::2]) for i in range(2)]
    for whole, *halves in zip(pixel_loss(logits, labels), *parts, strict=True):
        torch.testing.assert_close(halves[0] + halves[1], whole)


def test_right_pixels_are_counted_among_those_that_count() -> None:
    logits, labels = case()
    found = pixel_loss(logits, labels)
    valid = labels != IGNORED
    assert int(found.pixels) == int(valid.sum()) < labels.numel()
    assert int(found.right) == int((logits.argmax(1) == labels)[valid].sum())


def test_a_pixel_of_half_the_confidence_weighs_half() -> None:
    logits, labels = case()
    confidence = torch.rand(labels.shape, generator=torch.Generator().manual_seed(3)).double()
    losses = F.cross_entropy(logits, labels.long(), reduction="none", ignore_index=IGNORED)
    found = pixel_loss(logits, labels, confidence=confidence)
    torch.testing.assert_close(found.loss, (losses * confidence).sum())
    torch.testing.assert_close(found.weight, confidence[labels != IGNORED].sum())


def test_labels_that_are_not_sure_are_ignored() -> None:
    labels = torch.tensor([[[0, 1, 2, IGNORED]]], dtype=torch.uint8)
    confidence = torch.tensor([[[0.4, 0.5, 0.9, 0.9]]])
    assert sure_labels(labels, confidence, 0.5).tolist() == [[[IGNORED, 1, 2, IGNORED]]]
    assert torch.equal(sure_labels(labels, confidence, 0.0), labels)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_weights_leave_the_mean_weight_of_a_pixel_at_one(exponent: float) -> None:
    pixels = np.array([900, 90, 10, 0])
    weights = class_weights(pixels, exponent)
    assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1)
    assert weights[3] == 0
    assert weights[1] / weights[0] == pytest.approx(10**exponent)


def test_with_exponent_one_all_classes_weigh_the_same() -> None:
    pixels = np.array([900, 90, 10])
    np.testing.assert_allclose(class_weights(pixels, 1.0) * pixels, 1000 / 3)
