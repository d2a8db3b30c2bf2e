"""Instances or primaps over their photograph: a colour, an outline and a label for each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import numpy as np
import skimage.color
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from specray.tables.report.pictures import Mask, Pixels, mix, outline, segment_mask, subdue
from specray.tables.rows import Row

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""left, top, right, bottom; the last two are outside."""

_FONT: Final = 16
"""Pixels; readable where a thumbnail is shown at half of its size."""

_TALL: Final = _FONT + 3
"""Height of a label."""

_LARGEST: Final = 1 / 16
"""Share of a picture that a label may take: very small ones would be nothing but labels."""

_PAD: Final = 3
"""Pixels around the text of a label, left and right."""

_INK: Final = (17, 20, 20)
_PAPER: Final = (255, 255, 255)


def instance_colour(index: int) -> Colour:
    """The colour of an instance: the same everywhere, and far from those of its neighbours.

    Hues follow each other by the golden angle, which spreads any number of them over the circle.
    Those that come close to each other, 5, 8 or 13 apart, differ in lightness.

    Examples
    --------
    >>> instance_colour(0), instance_colour(1)
    ((255, 149, 112), (0, 168, 132))
    """
    hue = np.deg2rad(40 + 137.508 * index)
    lab = [(80, 58, 68)[index % 3], 75 * np.cos(hue), 75 * np.sin(hue)]
    red, green, blue = np.rint(255 * skimage.color.lab2rgb(lab)).astype(int).tolist()
    return red, green, blue


def instance_overlay(photograph: Pixels, instances: Sequence[Row]) -> Pixels:
    """Every instance in its colour, with its index and score; the rest subdued.

    Parameters
    ----------
    photograph
        (h, w, 3) thumbnail.
    instances
        Segments of method ``instance``, or ``primap``.
    """
    masks = {segment["index"]: segment_mask(segment, photograph.shape[:2]) for segment in instances}
    picture = subdue(photograph)
    for index, mask in masks.items():
        colour = instance_colour(index)
        picture[mask] = mix(photograph[mask], colour, 0.45)
        picture[outline(mask)] = mix(np.array(colour, np.uint8), _PAPER, 0.35)
    return _labelled(picture, instances, masks)


def _labelled(picture: Pixels, instances: Sequence[Row], masks: dict[int, Mask]) -> Pixels:
    """Labels on the instances, those of higher rank first, as far as there is room."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT)
    taken = np.zeros(picture.shape[:2], dtype=bool)
    for segment in sorted(instances, key=lambda segment: segment["index"]):
        mask = masks[segment["index"]]
        if not mask.any():  # too small for the thumbnail
            continue
        innermost = _innermost(mask)
        index, score = str(segment["index"]), f"{segment['score']:.2f}".removeprefix("0")
        for texts, shift in product(([index, score], [index]), (0, -_TALL)):
            widths = [round(font.getlength(text)) + 2 * _PAD for text in texts]
            boxes = _boxes(mask, innermost, widths, shift)
            whole = np.s_[boxes[0][1] : boxes[0][3], boxes[0][0] : boxes[-1][2]]
            fits = sum(widths) * _TALL <= _LARGEST * mask.size
            if fits and not taken[whole].any():
                taken[whole] = True
                _draw_label(draw, font, texts, boxes, instance_colour(segment["index"]))
                break
    return np.asarray(image)


def _innermost(mask: Mask) -> tuple[int, int]:
    """x, y of the pixel of a mask that is farthest from its border."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), mask.shape)
    return int(x), int(y)


def _boxes(mask: Mask, innermost: tuple[int, int], widths: list[int], shift: int) -> list[Box]:
    """Boxes of these widths side by side: at the innermost pixel of a mask, above a small one.

    `shift`: pixels to move them down.
    """
    height, width = mask.shape
    size = sum(widths)
    x, y = innermost
    if mask.sum() < 4 * size * _TALL:
        y = int(mask[:, x].argmax()) - _TALL // 2 - 2
    left = max(0, min(x - size // 2, width - size))
    top = max(0, min(y + shift - _TALL // 2, height - _TALL))
    edges = np.cumsum([left, *widths]).tolist()
    return [(edges[i], top, edges[i + 1], top + _TALL) for i in range(len(widths))]


def _draw_label(draw: Any, font: Any, texts: list[str], boxes: list[Box], colour: Colour) -> None:
    """The index in ink on the colour, the score in white on ink, all in an ink frame."""
    left, top, _, bottom = boxes[0]
    draw.rectangle((left - 1, top - 1, boxes[-1][2], bottom), fill=_INK)
    for text, box, ground, ink in zip(texts, boxes, (colour, _INK), (_INK, _PAPER), strict=False):
        draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=ground)
        middle = ((box[0] + box[2]) / 2, (top + bottom) / 2)
        draw.text(middle, text, fill=ink, font=font, anchor="mm")
