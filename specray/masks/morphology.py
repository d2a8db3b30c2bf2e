"""Erosion and dilation as DSM applies them before it takes a region's box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def erode_dilate(mask: NDArray[np.bool_], erode: int, dilate: int) -> NDArray[np.bool_]:
    """Erode a mask, then dilate it, never losing it.

    Every step uses the 3x3 cross. Erosion counts cells outside the grid as foreground, so a mask
    does not shrink from the image border; dilation counts them as background. An erosion that
    would leave nothing is not done.

    Parameters
    ----------
    mask
        (h, w) bool.
    erode, dilate
        Numbers of steps, in cells.

    Returns
    -------
    (h, w) bool, empty only if `mask` is.
    """
    for _ in range(erode):
        smaller = ndimage.binary_erosion(mask, border_value=1)
        if not smaller.any():
            break
        mask = smaller
    return ndimage.binary_dilation(mask, iterations=dilate) if dilate else mask
