"""How much a segment looks like an object: it stands out, is seen whole, and is not tiny."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from specray.masks.instances.border import ends

RING = 2
"""Patches around a segment that are its surroundings."""

ROUNDING = 1e-6
"""Contrast that equal features may have in float32."""


def objectness(features: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Score of every segment.

    The product of what it differs from its surroundings, ``1 - cos`` of the mean features of the
    segment and of a ring around it; of the share of its outline that is not the border of the
    image, which cuts scenes more often than objects; and of the square root of its relative side,
    ``area ** (1/4)``.

    Parameters
    ----------
    features
        (N, D) of the patches, rows of unit length.
    masks
        (S, h, w) bool with ``h * w == N``, none empty.

    Returns
    -------
    (S,) float64 in [0, 1]: 0 for a segment that looks like its surroundings, or has none.

    References
    ----------
    B. Alexe, T. Deselaers, V. Ferrari, What is an object?, CVPR 2010, for the cues: contrast to the
    surroundings and closed outlines.
    """
    side = 2 * RING + 1
    rings = ndimage.maximum_filter(masks, (1, side, side)) & ~masks
    inside, around = (_sums(features, part) for part in (masks, rings))
    lengths = np.linalg.norm(inside, axis=1) * np.linalg.norm(around, axis=1)
    cosine = np.divide(
        (inside * around).sum(axis=1), lengths, where=lengths > 0, out=np.ones_like(lengths)
    )
    contrast = np.clip(1 - cosine.astype(np.float64), 0, 1)
    contrast[contrast < ROUNDING] = 0
    area = masks.mean(axis=(1, 2))
    score: NDArray[np.float64] = contrast * (1 - _border_share(masks)) * area**0.25
    return score


def _sums(features: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(S, D) sums of the features under every mask."""
    # torch's threads are ours to set, those of NumPy's BLAS would change the last bits
    flat = torch.from_numpy(masks.reshape(len(masks), len(features))).float()
    sums: NDArray[np.float32] = (flat @ torch.from_numpy(features)).numpy()
    return sums


def _border_share(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(S,) share of every segment's outline that lies on the border of the image."""
    border = sum(np.count_nonzero(end, axis=1) for end in ends(masks))
    inner = sum(np.count_nonzero(np.diff(masks, axis=axis), axis=(1, 2)) for axis in (1, 2))
    share: NDArray[np.float64] = border / (border + inner)
    return share
