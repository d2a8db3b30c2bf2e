"""The foreground mask of patches, cleaned as SpecUnIIS publishes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_STRIP = 5
"""Thickness in patches of the strips along the border that vote."""
_EIGHT = np.ones((3, 3), dtype=np.bool_)


def clean_foreground(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Turn the mask if it holds the border, drop small parts, fill holes, smooth.

    1. Each of the four strips along the border, 5 patches thick, of which more than 90 % is
       foreground votes that the mask is the background; two votes turn it.
    2. Of the 8-connected parts those remain, with their holes filled, whose outlines enclose at
       least a tenth of what the largest one does. Outlines run through the centres of patches, so a
       part one patch wide encloses nothing; where all are such, all remain.
    3. Median of 3x3 patches; beyond the border the nearest patch is repeated.

    Parameters
    ----------
    mask
        (h, w) bool.

    Returns
    -------
    (h, w) bool; may be empty.

    References
    ----------
    F. Arefi, A. M. Mansourian and S. Kasaei, Deep spectral improvement for unsupervised image
    instance segmentation, PLOS ONE 2024.
    """
    if _votes_for_background(mask) >= 2:
        mask = ~mask
    cleaned: NDArray[np.bool_] = ndimage.median_filter(_large_parts(mask), 3, mode="nearest")
    return cleaned


def _votes_for_background(mask: NDArray[np.bool_]) -> int:
    strips = mask[:_STRIP], mask[-_STRIP:], mask[:, :_STRIP], mask[:, -_STRIP:]
    return sum(bool(10 * np.count_nonzero(strip) > 9 * strip.size) for strip in strips)


def _large_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    filled = ndimage.binary_fill_holes(mask)
    labels, parts = ndimage.label(filled, _EIGHT)
    areas = _doubled_outline_areas(filled, labels, parts)
    large = 10 * areas >= areas.max()
    large[0] = False
    kept: NDArray[np.bool_] = large[labels]
    return kept


def _doubled_outline_areas(
    filled: NDArray[np.bool_], labels: NDArray[np.integer], parts: int
) -> NDArray[np.int64]:
    """(parts + 1,) twice the areas of the polygons through the centres of the outer patches.

    The unit square between four centres is inside if all four patches are, and half inside if three
    are; all of them belong to one part, as they touch.
    """
    doubled = np.maximum(_corners(filled).sum(axis=0) - 2, 0)
    part = _corners(labels).max(axis=0)
    areas = np.bincount(part.ravel(), doubled.ravel(), minlength=parts + 1)
    return areas.astype(np.int64)


def _corners(grid: NDArray[np.generic]) -> NDArray[np.generic]:
    """(4, h - 1, w - 1) values at the corners of every unit square."""
    return np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]])
