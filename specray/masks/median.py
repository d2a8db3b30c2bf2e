"""Medians of an embedding over windows of the grid."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage


def replicated_median(embedding: NDArray[np.floating], size: int = 5) -> NDArray[np.floating]:
    """Median of every channel over the whole window, as SpecUnIIS publishes it.

    Parameters
    ----------
    embedding
        (h, w, E) float.
    size
        Side of the window in cells, odd. Beyond the border the nearest cell is repeated.

    Returns
    -------
    (h, w, E) of the same dtype; equal to OpenCV's ``medianBlur``.
    """
    smooth: NDArray[np.floating] = ndimage.median_filter(embedding, (size, size, 1), mode="nearest")
    return smooth


def masked_median(
    embedding: NDArray[np.floating], mask: NDArray[np.bool_], size: int = 5
) -> NDArray[np.floating]:
    """Median of every channel over the foreground cells of the window.

    The median over the whole window mixes the background into the borders of objects.

    Parameters
    ----------
    embedding
        (h, w, E) float, finite.
    mask
        (h, w) bool, the foreground.
    size
        Side of the window in cells, odd. Beyond the border there is nothing.

    Returns
    -------
    (h, w, E) of the same dtype; 0 outside the mask.
    """
    foreground = embedding.copy()
    foreground[~mask] = np.nan
    half = size // 2
    padded = np.pad(foreground, ((half, half), (half, half), (0, 0)), constant_values=np.nan)
    windows = sliding_window_view(padded, (size, size), axis=(0, 1))[mask]
    values = np.sort(windows.reshape(*windows.shape[:2], size**2))  # NaN last
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    middle = np.concatenate([(count - 1) // 2, count // 2], axis=-1)
    smooth = np.zeros_like(embedding)
    smooth[mask] = np.take_along_axis(values, middle, axis=-1).mean(axis=-1)
    return smooth
