"""Soft foreground maps against ground truth: the largest F-beta over thresholds (saliency)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.evaluation.sizes import check_shapes

BETA_SQUARED: Final = 0.3
THRESHOLDS: Final = np.arange(1, 255) / 255
"""(254,) as published; a prediction of one of them reaches it."""


def fbeta_curve(
    soft: NDArray[np.floating] | NDArray[np.uint8], truth: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """F-beta of one image at each of `THRESHOLDS`.

    Parameters
    ----------
    soft
        (H, W) how much a pixel is foreground: floats in [0, 1], or uint8 that stand for 255ths.
        Foreground is what is at least the threshold.
    truth
        (H, W) bool.

    Returns
    -------
    (254,) float64 in [0, 1]: ``1.3 P R / (0.3 P + R)``, 0 where both are 0. The precision P of an
    empty prediction and the recall R of an empty ground truth are 1.

    Raises
    ------
    ValueError
        If the sizes differ, or a value is outside [0, 1] or not a number.

    References
    ----------
    R. Achanta et al., Frequency-tuned salient region detection, CVPR 2009.

    Examples
    --------
    >>> curve = fbeta_curve(np.array([[0, 100, 200]], np.uint8), np.array([[False, False, True]]))
    >>> curve[[0, 99, 100, 199, 200]].round(3)
    array([0.565, 0.565, 1.   , 1.   , 0.   ])
    """
    check_shapes(soft, truth)
    # one histogram of how many thresholds a pixel reaches, then sums from above
    pairs = np.bincount((2 * _reached(soft) + truth).ravel(), minlength=2 * 255)
    counts = pairs.reshape(255, 2)[::-1].cumsum(axis=0)[::-1]
    found, right, true = counts[1:].sum(axis=1), counts[1:, 1], counts[0, 1]
    precision = np.where(found > 0, right / np.maximum(found, 1), 1.0)
    recall = right / true if true else np.ones(len(right))
    below = BETA_SQUARED * precision + recall
    f: NDArray[np.float64] = (1 + BETA_SQUARED) * precision * recall / np.where(below > 0, below, 1)
    return np.minimum(f, 1.0)  # 1.3 / (0.3 + 1) may round to more


def _reached(soft: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many of the thresholds are at most the value: 0 to 254."""
    if soft.dtype == np.uint8:
        return np.minimum(soft, 254).astype(np.int64)
    if soft.size and not (soft.min() >= 0 and soft.max() <= 1):
        raise ValueError(f"values from {soft.min()} to {soft.max()} are not in [0, 1]")
    # rounded as the values are: 3/255 in float32 is a little less than in float64
    return np.searchsorted(THRESHOLDS.astype(soft.dtype), soft, side="right")
