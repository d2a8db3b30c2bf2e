"""A region as a crop of its photograph, with some of its surroundings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from scipy import ndimage

from specray.tables.colours import Colour
from specray.tables.report.pictures import Mask, Pixels
from specray.tables.rows import Row

TILE: Final = (144, 192)
"""Height and width that a crop is brought to fit into."""

_AROUND: Final = 1.5
"""Sides of a crop over those of its region."""

_LEAST: Final = 0.4
"""Sides of a crop over those of its image, at least: what a small thing is, its place tells."""


_GREY: Final = 128

_ARM: Final = 14
"""Pixels of a mark at the corner of a box."""


class Window(NamedTuple):
    """A part of an image, in pixels of the original."""

    left: float
    top: float
    width: float
    height: float

    @property
    def tile(self) -> tuple[int, int]:
        """(height, width) of its picture."""
        scale = min(TILE[0] / self.height, TILE[1] / self.width)
        return max(1, round(self.height * scale)), max(1, round(self.width * scale))


def window_of(region: Row) -> Window:
    """What is shown of the image of a region: its box and some more, in the shape of a tile.

    Parameters
    ----------
    region
        With ``bbox``, and the ``width`` and ``height`` of its image.
    """
    x, y, box_width, box_height = region["bbox"]
    shape = TILE[1] / TILE[0]
    height = max(_AROUND * max(box_height, box_width / shape), _LEAST * region["height"])
    size = min(height * shape, region["width"]), min(height, region["height"])
    middle = x + box_width / 2, y + box_height / 2
    left, top = (
        min(max(0.0, middle[i] - size[i] / 2), region[side] - size[i])
        for i, side in enumerate(("width", "height"))
    )
    return Window(left, top, *size)


def scale_for(region: Row) -> float:
    """Scale of a photograph, at most 1, that a crop needs to be sharp."""
    window = window_of(region)
    return min(1.0, window.tile[1] / window.width)


def crop_name(region: Row, class_id: int) -> str:
    """File name of a crop: the same region in two strips is one file."""
    # A name made of a digest says nothing of the key, which may hold any character.
    what = json.dumps([region["key"], region["bbox"]])
    return f"{hashlib.sha256(what.encode()).hexdigest()[:20]}-{class_id}.webp"


def draw_crop(photograph: Pixels | None, region: Row, colour: Colour) -> Pixels:
    """The surroundings of a region: its class as it is, in an outline; the rest subdued.

    Parameters
    ----------
    photograph
        (h, w, 3) the whole image at any size; None draws on grey.
    region
        A row of `specray.tables.report.classes.strips.region_table`.
    colour
        Of the class.
    """
    window = window_of(region)
    height, width = window.tile
    if photograph is None:
        ground = np.full((height, width, 3), _GREY, dtype=np.uint8)
    else:
        ground = _cut(photograph, window, region["width"])
    mask = _mask(region, window)
    picture = np.where(mask[..., None], ground, _faded(ground))
    picture[_edge(mask)] = colour
    return _with_corners(picture, window, region["bbox"])


def _cut(photograph: Pixels, window: Window, full_width: int) -> Pixels:
    scale = photograph.shape[1] / full_width
    left, top, width, height = (value * scale for value in window)
    right = min(left + width, photograph.shape[1])
    box = (left, top, right, min(top + height, photograph.shape[0]))
    size = window.tile[::-1]
    picture = Image.fromarray(photograph).resize(size, Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture)


def _mask(region: Row, window: Window) -> Mask:
    """The class of a region in a window: each pixel takes the one under its centre."""
    if region["rle"] is None:
        return np.zeros(window.tile, dtype=np.bool_)
    full: NDArray[np.uint8] = coco_mask.decode(region["rle"])
    rows, columns = (
        np.clip((start + (np.arange(new) + 0.5) * old / new).astype(np.int64), 0, limit - 1)
        for start, old, new, limit in zip(
            (window.top, window.left),
            (window.height, window.width),
            window.tile,
            full.shape,
            strict=True,
        )
    )
    found: Mask = full[rows][:, columns] != 0
    return found


def _faded(picture: Pixels) -> Pixels:
    """Grey of little contrast: dark and bright classes both stand out from it."""
    grey = picture.mean(axis=2, keepdims=True)
    faded = np.repeat(0.4 * grey + 0.6 * _GREY, 3, axis=2).astype(np.uint8)
    return np.asarray(faded)


def _edge(mask: Mask) -> Mask:
    """The two outermost pixels of a mask; none where it leaves the picture."""
    inner: Mask = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=2, border_value=1)
    return mask & ~inner


def _with_corners(picture: Pixels, window: Window, box: Sequence[float]) -> Pixels:
    """Mark the corners of the region's own box: the class may well go on beyond it."""
    height, width = picture.shape[:2]
    scale = width / window.width
    left, top = (box[0] - window.left) * scale, (box[1] - window.top) * scale
    right, bottom = left + box[2] * scale - 1, top + box[3] * scale - 1
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    arm = min(_ARM, (right - left) / 3, (bottom - top) / 3)
    for ink, line in (((20, 20, 20), 4), ((255, 255, 255), 2)):
        for x, inward in ((max(left, 1), arm), (min(right, width - 2), -arm)):
            for y, down in ((max(top, 1), arm), (min(bottom, height - 2), -arm)):
                draw.line([(x + inward, y), (x, y), (x, y + down)], fill=ink, width=line)
    return np.asarray(image)
