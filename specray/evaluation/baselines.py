"""What an answer scores that never looks at the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def centred_box(height: int, width: int, side: float) -> NDArray[np.float64]:
    """Box in the middle of the image; ``side=1`` is the whole image.

    Parameters
    ----------
    height, width
        Pixels of the image.
    side
        Sides of the box as a fraction of the image's sides.

    Returns
    -------
    (4,) float64 [xmin, ymin, xmax, ymax].

    Examples
    --------
    >>> centred_box(100, 200, 0.5)
    array([ 50.,  25., 150.,  75.])
    """
    size = np.array([width, height], dtype=np.float64)
    return np.concatenate([size * (1 - side) / 2, size * (1 + side) / 2])


def centred_mask(height: int, width: int, side: float) -> NDArray[np.bool_]:
    """Mask of the pixels whose centres lie in `centred_box`.

    Returns
    -------
    (height, width) bool.
    """
    xmin, ymin, xmax, ymax = centred_box(height, width, side)
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
    rows, columns = (ymin <= y) & (y < ymax), (xmin <= x) & (x < xmax)
    mask: NDArray[np.bool_] = rows[:, None] & columns
    return mask
