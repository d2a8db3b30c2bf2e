"""Decoded images as the backbone takes them: whole patches, within the budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specray.errors import ErrorCode, ImageError, Stage
from specray.sources import DecodedImage


@dataclass(frozen=True)
class Prepared:
    """An image as the backbone takes it."""

    key: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, whole patches."""
    height: int
    """Pixels of the original image."""
    width: int
    resized_height: int
    """Pixels after resizing, before cropping to whole patches."""
    resized_width: int


def check_grid(height: int, width: int, patch_size: int, max_patches: int, cell: int) -> None:
    """Refuse an image that is smaller than a patch or has more patches than the budget.

    Parameters
    ----------
    height, width
        Pixels as the backbone would see them.
    patch_size, cell
        Pixels per patch of the backbone, and per cell of the affinity's grid.
    max_patches
        Budget for either grid.

    Raises
    ------
    ImageError
        ``too_small`` or ``too_many_patches``.
    """
    grid_h, grid_w = height // patch_size, width // patch_size
    if not (grid_h and grid_w):
        message = f"{width} x {height} pixels hold no whole patch of {patch_size} x {patch_size}"
        raise ImageError(ErrorCode.TOO_SMALL, Stage.DECODE, message)
    cells = (grid_h * patch_size // cell) * (grid_w * patch_size // cell)
    patches = max(grid_h * grid_w, cells)
    if patches > max_patches:
        message = (
            f"{width} x {height} pixels make {patches} patches, the budget is "
            f"{max_patches}; resize with --image-size"
        )
        raise ImageError(ErrorCode.TOO_MANY_PATCHES, Stage.DECODE, message)


def prepare(key: str, image: DecodedImage, patch_size: int) -> Prepared:
    """Crop a decoded image to whole patches at the top left (DSM code, preprocessing)."""
    height, width = image.pixels.shape[:2]
    cropped = image.pixels[: height - height % patch_size, : width - width % patch_size]
    return Prepared(key, cropped, image.height, image.width, height, width)
