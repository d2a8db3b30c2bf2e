"""The colours of classes."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import skimage.color

Colour = tuple[int, int, int]
"""Red, green, blue in 0 to 255."""

COLOURS: Final = 256
"""So many classes differ in colour; then the colours repeat."""

_FIRST: Final = (0, 150, 180)
_STEP: Final = 15
_LIGHTNESS: Final = (35, 90)
_CHROMA: Final = (25, 85)
"""In CIELAB: neither close to black, white or grey, nor glaring."""


def class_colour(class_id: int) -> Colour:
    """The colour of a class, the same in every run.

    Each is the one that is farthest from those of all smaller ids, so the first dozen differ
    most: they are at least 50 apart in CIELAB, the first 27 are 30, the first 64 are 21.

    Examples
    --------
    >>> class_colour(0), class_colour(1)
    ((0, 150, 180), (210, 30, 15))
    """
    return _palette()[class_id % COLOURS]


@cache
def _palette() -> list[Colour]:
    levels = np.arange(0, 256, _STEP)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = skimage.color.rgb2lab(rgb / 255)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    allowed = np.ones(len(rgb), dtype=np.bool_)
    for values, (low, high) in ((lab[:, 0], _LIGHTNESS), (chroma, _CHROMA)):
        allowed &= (low <= values) & (values <= high)
    rgb, lab = rgb[allowed], lab[allowed]
    chosen = [int(np.abs(rgb - _FIRST).sum(axis=1).argmin())]
    farness = np.full(len(rgb), np.inf)  # squared, to the nearest chosen one
    while len(chosen) < COLOURS:
        farness = np.minimum(farness, ((lab - lab[chosen[-1]]) ** 2).sum(axis=1))
        # rounded, so that no tie is broken by the last bit of a library
        chosen.append(int(farness.round(3).argmax()))
    return [(int(red), int(green), int(blue)) for red, green, blue in rgb[chosen]]
