"""Colours of an object without the background that shows through its border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pymatting.foreground.estimate_foreground_ml import estimate_foreground_ml
from scipy import ndimage

from specray.masks.matting.alpha import bounding_window

_MARGIN = 32
"""Pixels around the object from which the background's colours are learnt."""

_ITERATIONS = 8
"""On each large level. After the two of pymatting's default the halo is 1 to 8 % worse, and depends
on where the window happens to be cut; more than eight gain next to nothing."""

_BLEED = 2
"""Pixels beyond the object that keep its colour: programs that scale or blur a transparent picture
mix them in. Further out black is as good, and compresses better."""


def foreground_colors(image: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Estimate the foreground of a matte by the multi-level method.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    alpha
        (H, W) in [0, 1].

    Returns
    -------
    (H, W, 3) uint8: equal to the image where alpha is 1, black away from where it is above 0.

    References
    ----------
    T. Germer et al., "Fast multi-level foreground estimation", ICPR 2020.
    """
    colors = np.zeros_like(image)
    window = bounding_window(alpha > 0, margin=_MARGIN)
    if window is None:
        return colors
    alpha, image = alpha[window], image[window]
    if alpha.size == 1:  # of which pymatting cannot make levels
        colors[window] = image
        return colors
    scaled = image.astype(np.float32) / 255
    estimated = estimate_foreground_ml(scaled, alpha, n_big_iterations=_ITERATIONS)
    estimated = np.rint(estimated * 255).astype(np.uint8)
    near = ndimage.maximum_filter(alpha, size=2 * _BLEED + 1) > 0
    colors[window] = np.where((alpha == 1)[..., None], image, estimated * near[..., None])
    return colors
