"""Cross entropy of pixels, as sums that add up over images and workers."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

IGNORED: Final = 255
"""Label of pixels that do not count."""


class LossSums(NamedTuple):
    """Sums over pixels, float64; the loss of a batch is ``loss / weight`` of all of its images."""

    loss: Tensor
    """Weighted cross entropy, with its graph."""
    weight: Tensor
    """What the loss is divided by."""
    right: Tensor
    """Pixels whose best class is their label."""
    pixels: Tensor
    """Pixels that count."""


def pixel_loss(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    confidence: Tensor | None = None,
) -> LossSums:
    """Cross entropy with pseudo labels.

    With neither weights nor confidences, and with weights, ``loss / weight`` is the mean that
    ``torch.nn.functional.cross_entropy`` gives with ``ignore_index=255``.

    Parameters
    ----------
    logits
        (B, K, H, W).
    labels
        (B, H, W) integers from 0 up to K, or `IGNORED`.
    class_weights
        (K,) of the classes; None weighs all the same.
    confidence
        (B, H, W) further weights of the pixels, from 0 to 1.
    """
    targets = labels.long()
    losses = cross_entropy(logits, targets, class_weights, reduction="none", ignore_index=IGNORED)
    counted = targets != IGNORED
    weights = counted.to(logits.dtype)
    if class_weights is not None:
        weights = class_weights[torch.where(counted, targets, 0)] * counted
    if confidence is not None:
        losses, weights = losses * confidence, weights * confidence
    right = (logits.detach().argmax(dim=1) == targets) & counted
    return LossSums(
        # image by image, and then in float64: the sum does not depend on the company
        losses.sum(dim=(1, 2)).double().sum(),
        weights.sum(dim=(1, 2)).double().sum(),
        right.sum().double(),
        counted.sum().double(),
    )


def class_weights(pixels: NDArray[np.integer], exponent: float) -> NDArray[np.float64]:
    """Weights of classes by their frequency: of a pixel, 1 on average.

    Parameters
    ----------
    pixels
        (K,) pixels of each class in the labels of the dataset.
    exponent
        0 weighs all pixels the same; with 1, all classes weigh the same.

    Returns
    -------
    (K,) float64; 0 for a class without pixels.

    Examples
    --------
    >>> class_weights(np.array([30, 10, 0]), 1.0)
    array([0.66666667, 2.        , 0.        ])
    """
    counts = pixels.astype(np.float64)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -exponent, 0)
    scaled: NDArray[np.float64] = weights * (counts.sum() / max((counts * weights).sum(), 1e-300))
    return scaled


def sure_labels(labels: Tensor, confidence: Tensor, least: float) -> Tensor:
    """Labels, `IGNORED` where they are less sure than `least`: (B, H, W) each, and the result."""
    return torch.where(confidence < least, IGNORED, labels)
