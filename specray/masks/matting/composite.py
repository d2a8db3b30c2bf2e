"""Cut-outs over something else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from specray.masks.matting.matte import Matte


def cutout(matte: Matte) -> NDArray[np.uint8]:
    """A matte as a picture with transparency.

    Returns
    -------
    (H, W, 4) uint8, colours not multiplied by alpha: what PNG and WebP hold.
    """
    alpha = np.rint(matte.alpha * 255).astype(np.uint8)
    return np.concatenate([matte.foreground, alpha[..., None]], axis=2)


def composite(matte: Matte, background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A matte over a background: ``alpha F + (1 - alpha) B``.

    On the values as they are stored (gamma-encoded), not on linear light: alpha and foreground
    were estimated under the same equation, so that the photograph over its own background gives
    the photograph.

    Parameters
    ----------
    matte
        (H, W) alpha and colours.
    background
        (H, W, 3) uint8, or a colour (3,).

    Returns
    -------
    (H, W, 3) uint8.
    """
    alpha = matte.alpha[..., None]
    mixed = alpha * matte.foreground + (1 - alpha) * background
    return np.rint(mixed).astype(np.uint8)


def fitted(background: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A background picture at a size (height, width): scaled to cover it, its middle kept."""
    image = ImageOps.fit(Image.fromarray(background), size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(image)
