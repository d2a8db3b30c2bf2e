"""Boundaries of masks against those of the ground truth: the contour accuracy F of DAVIS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from specray.evaluation.sizes import check_shapes


@dataclass(frozen=True)
class BoundaryScore:
    """How much of the boundaries lies near each other, all in [0, 1]."""

    precision: float
    """Of the predicted boundary, the part near the true one; 1 if there is none."""
    recall: float
    """Of the true boundary, the part near the predicted one; 1 if there is none."""
    f: float
    """Their harmonic mean: 1 if both masks are without a boundary, 0 if one of them is."""


def boundary_f(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], tolerance: float = 0.008
) -> BoundaryScore:
    """Boundary F-measure of one mask.

    Parameters
    ----------
    prediction, truth
        (H, W) bool masks of the same size.
    tolerance
        Distance that still is near, in diagonals of the image; rounded up to whole pixels.

    Raises
    ------
    ValueError
        If the sizes differ.

    References
    ----------
    F. Perazzi et al., A benchmark dataset and evaluation methodology for video object segmentation,
    CVPR 2016. D. Martin, C. Fowlkes and J. Malik, Learning to detect natural image boundaries using
    local brightness, color, and texture cues, PAMI 2004.

    Examples
    --------
    >>> square = np.zeros((100, 100), dtype=bool)
    >>> square[20:60, 20:60] = True
    >>> boundary_f(np.roll(square, 2), square).f
    1.0
    >>> round(boundary_f(np.roll(square, 3), square).f, 2)
    0.53
    """
    check_shapes(prediction, truth)
    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    found, true = boundary(prediction), boundary(truth)
    precision, recall = _near(found, true, radius), _near(true, found, radius)
    f = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return BoundaryScore(precision, recall, f)


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels that differ from their right, lower or lower right neighbour.

    Returns
    -------
    (H, W) bool. The border of the image is not a boundary.

    Examples
    --------
    >>> boundary(np.array([[0, 0, 0], [0, 0, 1]], dtype=bool)).astype(int)
    array([[0, 1, 1],
           [0, 1, 0]])
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, lower, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    edges: NDArray[np.bool_] = (mask != right) | (mask != lower) | (mask != diagonal)
    return edges


def _near(pixels: NDArray[np.bool_], others: NDArray[np.bool_], radius: int) -> float:
    """Part of the pixels at most `radius` from any of the others."""
    if not pixels.any():
        return 1.0
    if not others.any():
        return 0.0
    # a pixel is near iff a disk around another covers it: one transform, whatever the radius
    distance = distance_transform_edt(~others)
    return float(np.count_nonzero(distance[pixels] <= radius) / np.count_nonzero(pixels))
