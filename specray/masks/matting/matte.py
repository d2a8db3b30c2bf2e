"""From a photograph and a hard mask to a soft cut-out of the same size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from specray.masks.matting.alpha import NotConverged, bounding_window, closed_form_alpha
from specray.masks.matting.config import MattingConfig
from specray.masks.matting.foreground import foreground_colors
from specray.masks.matting.guided import LinearModel, apply_guided, fit_guided, resized_rows
from specray.masks.matting.trimap import Trimap, band_radius, trimap

_RADIUS = 1
"""Of the windows in which alpha is an affine function of colour: as in closed-form matting."""

_ROWS = 256
"""Rows of the full-size image in hand at a time."""

_LONGEST = 4
"""Sides of the image that is solved for: a panorama is not to take more memory than this."""


@dataclass(frozen=True)
class Matte:
    """An object cut out of its photograph: colour and coverage of every pixel."""

    alpha: NDArray[np.float32]
    """(H, W) in [0, 1]"""
    foreground: NDArray[np.uint8]
    """(H, W, 3) colours of the object without the background that shone through its border; those
    of the photograph, exactly, where alpha is 1."""
    converged: bool
    """False if the solver failed and the edges of the image alone shaped the border."""


def matte(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    config: MattingConfig | None = None,
    cell: float = 0.0,
) -> Matte:
    """Cut the object of a hard mask out of a photograph, softly.

    A band along the mask's border is unknown; closed-form matting decides there, at a bounded
    size, and the affine functions of colour that describe its alpha around each pixel bring it
    to the pixels of the photograph.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    mask
        (H, W) bool, the object.
    config
        Sizes.
    cell
        Side, in pixels of the image, of the cells of which the mask is made; 0 if it follows
        the pixels.

    Examples
    --------
    >>> image = np.repeat(np.uint8([[[0], [0], [0], [255], [255], [255]]]), 3, axis=2)
    >>> matte(image.repeat(6, axis=0), np.arange(6)[None].repeat(6, axis=0) > 2).alpha[0].round(1)
    array([0., 0., 0., 1., 1., 1.], dtype=float32)
    """
    config = config or MattingConfig()
    alpha, converged = _alpha(image, mask, config, cell)
    return Matte(alpha, foreground_colors(image, alpha), converged)


def _alpha(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], config: MattingConfig, cell: float
) -> tuple[NDArray[np.float32], bool]:
    height, width = mask.shape
    size = _matte_size(height, width, config.matte_size)
    small = np.asarray(_resized(image, size), dtype=np.float64) / 255
    radius = band_radius(size, config.band, cell * size[0] / height)
    small_mask = _resized_mask(mask, size)
    known = trimap(small_mask, radius)
    try:
        solved, converged = closed_form_alpha(small, known, small_mask), True
    except NotConverged:
        solved, converged = _filtered(small, known, small_mask, round(radius)), False
    if size == mask.shape:
        return solved.astype(np.float32), converged
    return _enlarged(small, known, solved, image), converged


def _matte_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(h, w) at which to solve, never more than the image has."""
    area = _LONGEST * short_side**2
    scale = min(1.0, short_side / min(height, width), (area / (height * width)) ** 0.5)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX))


def _resized_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    cover = _resized(mask.astype(np.uint8) * np.uint8(255), size)
    half: NDArray[np.bool_] = cover >= 128
    # an object that is thinner than a pixel of the smaller image shall not vanish
    return half if half.any() else cover > 0


def _filtered(
    image: NDArray[np.float64], known: Trimap, mask: NDArray[np.bool_], radius: int
) -> NDArray[np.float64]:
    """What the guided filter makes of a mask, within its band."""
    model = fit_guided(image, mask.astype(np.float64), radius)
    values = np.einsum("hwc,hwc->hw", model.slope, image) + model.offset
    return np.where(known.unknown, np.clip(values, 0, 1), known.values)


def _enlarged(
    small: NDArray[np.float64],
    known: Trimap,
    solved: NDArray[np.float64],
    image: NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Alpha at the size of the image, by the colours of its pixels within the band."""
    height, width = image.shape[:2]
    model = _model(small, known, solved)
    bounds, alpha = known.values.astype(np.float32), np.empty((height, width), dtype=np.float32)
    for top in range(0, height, _ROWS):
        colors = image[top : top + _ROWS]
        rows = resized_rows(bounds, colors.shape[:2], top, height)
        values = np.clip(apply_guided(model, colors, top, height), 0, 1)
        alpha[top : top + _ROWS] = np.where((rows > 0) & (rows < 1), values, rows)
    return alpha


def _model(small: NDArray[np.float64], known: Trimap, solved: NDArray[np.float64]) -> LinearModel:
    """Alpha as functions of colour, fitted around the band."""
    offset = known.values.astype(np.float32)
    model = LinearModel(np.zeros(small.shape, dtype=np.float32), offset)
    window = bounding_window(known.unknown, margin=4 * _RADIUS)
    if window is not None:
        fitted = fit_guided(small[window], solved[window], _RADIUS)
        model.slope[window], model.offset[window] = fitted.slope, fitted.offset
    return model
