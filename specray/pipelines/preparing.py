"""Decoded images as the engine takes them, within the budget of patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specray.errors import ErrorCode, ImageError, Stage
from specray.masks import ImageGeometry
from specray.sources import DecodedImage


@dataclass(frozen=True)
class Prepared:
    """An image as the engine takes it."""

    key: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB at the size that the backbone sees, before it is cropped to whole patches."""
    height: int
    """Pixels of the original image."""
    width: int
    fine: NDArray[np.uint8] | None = None
    """(h, w, 3) at the size at which masks are refined, where that is another."""

    def whole_patches(self, patch_size: int) -> NDArray[np.uint8]:
        """The pixels cropped to whole patches at the top left (DSM code, preprocessing)."""
        height, width, _ = self.pixels.shape
        return self.pixels[: height - height % patch_size, : width - width % patch_size]

    def geometry(self, cell: int, grid: tuple[int, int]) -> ImageGeometry:
        """Sizes of the image and of its grid of cells of this many pixels."""
        height, width, _ = self.pixels.shape
        return ImageGeometry(self.height, self.width, height, width, cell, *grid)


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


def prepare(key: str, image: DecodedImage) -> Prepared:
    """An image whose masks are refined at the size that the backbone sees."""
    return Prepared(key, image.pixels, image.height, image.width)
