"""The guided filter: what is known at one size to another, along the edges of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

_EPSILON = 1e-4
"""Variance of colour, of values in [0, 1], below which a window has no edge to follow."""


@dataclass(frozen=True)
class LinearModel:
    """Per pixel, an affine function of its colour: ``slope @ colour + offset``."""

    slope: NDArray[np.float32]
    """(h, w, 3)"""
    offset: NDArray[np.float32]
    """(h, w)"""


def fit_guided(guide: NDArray[np.float64], values: NDArray[np.float64], radius: int) -> LinearModel:
    """The affine functions of colour that describe values best, around every pixel.

    Parameters
    ----------
    guide
        (h, w, 3) image in [0, 1].
    values
        (h, w)
    radius
        Of the square windows, in pixels.

    References
    ----------
    K. He, J. Sun, X. Tang, "Guided image filtering", PAMI 2013, section 3.5. K. He, J. Sun,
    "Fast guided filter", arXiv:1505.00996, for applying the functions at a larger size.
    """

    def mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
        size = (2 * radius + 1, 2 * radius + 1, *[1] * (x.ndim - 2))
        averaged: NDArray[np.float64] = ndimage.uniform_filter(x, size, mode="nearest")
        return averaged

    centre, level = mean(guide), mean(values)
    products = np.einsum("hwc,hwd->hwcd", guide, guide)
    variance = mean(products) - np.einsum("hwc,hwd->hwcd", centre, centre)
    covariance = mean(guide * values[..., None]) - centre * level[..., None]
    slope = np.linalg.solve(variance + _EPSILON * np.eye(3), covariance[..., None])[..., 0]
    offset = level - np.einsum("hwc,hwc->hw", slope, centre)
    return LinearModel(mean(slope).astype(np.float32), mean(offset).astype(np.float32))


def apply_guided(
    model: LinearModel, guide: NDArray[np.uint8], top: int, height: int
) -> NDArray[np.float32]:
    """Values of some rows of a larger image, by its own colours.

    Parameters
    ----------
    model
        (h, w) functions, spread over the whole of the larger image.
    guide
        (H', W, 3) rows of the larger image, from its row `top` on.
    top
        The first of the rows.
    height
        Rows of the larger image.

    Returns
    -------
    (H', W)
    """

    def rows(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        return resized_rows(plane, guide.shape[:2], top, height)

    colours = guide.astype(np.float32) / 255
    values = rows(model.offset)
    for channel in range(3):
        values += rows(np.ascontiguousarray(model.slope[..., channel])) * colours[..., channel]
    return values


def resized_rows(
    plane: NDArray[np.float32], size: tuple[int, int], top: int, height: int
) -> NDArray[np.float32]:
    """Rows from `top` on of a plane that is enlarged, bilinearly, to `height` rows.

    Parameters
    ----------
    plane
        (h, w)
    size
        Rows and columns wanted; all columns of the larger plane.
    """
    scale = plane.shape[0] / height
    box = (0, top * scale, plane.shape[1], min((top + size[0]) * scale, plane.shape[0]))
    image = Image.fromarray(plane).resize(size[::-1], Image.Resampling.BILINEAR, box)
    return np.array(image)
