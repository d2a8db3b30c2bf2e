"""A label map of pixels at another size, with smooth borders."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from specray.kernels import compiled


def resize_labels(labels: NDArray[np.int32], height: int, width: int) -> NDArray[np.int32]:
    """Resize a label map: every pixel takes the label of most weight among its four neighbours.

    The weights are those of bilinear interpolation, so that two labels part where their
    interpolated indicators are equal: borders are rounded, not stairs.

    Parameters
    ----------
    labels
        (h, w) int32.
    height, width
        Pixels of the result.

    Returns
    -------
    (height, width) int32.

    Examples
    --------
    >>> resize_labels(np.array([[0, 1]], np.int32), 1, 4)
    array([[0, 0, 1, 1]], dtype=int32)
    """
    if labels.shape == (height, width):
        return labels
    resized: NDArray[np.int32] = _resized(np.ascontiguousarray(labels), height, width)
    return resized


@compiled
def _resized(labels, height, width):  # type: ignore[no-untyped-def]
    old_height, old_width = labels.shape
    resized = np.empty((height, width), np.int32)
    for y in range(height):
        at_y = (y + 0.5) * old_height / height - 0.5
        top = math.floor(at_y)
        low = at_y - top
        bottom = min(top + 1, old_height - 1)
        top = max(top, 0)
        for x in range(width):
            at_x = (x + 0.5) * old_width / width - 0.5
            left = math.floor(at_x)
            far = at_x - left
            right = min(left + 1, old_width - 1)
            left = max(left, 0)
            a, b = labels[top, left], labels[top, right]
            c, d = labels[bottom, left], labels[bottom, right]
            if a == b and a == c and a == d:
                resized[y, x] = a
                continue
            shares = (
                (1 - low) * (1 - far),
                (1 - low) * far,
                low * (1 - far),
                low * far,
            )
            best = -1.0
            for label in (a, b, c, d):
                weight = 0.0
                for other, share in zip((a, b, c, d), shares):  # noqa: B905  numba has no strict
                    if other == label:
                        weight += share
                if weight > best:
                    best = weight
                    resized[y, x] = label
    return resized
