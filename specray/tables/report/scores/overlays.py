"""What was predicted of an image, and what is true, over its photograph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from specray.tables.report.instances import instance_colour
from specray.tables.report.pictures import OBJECT, Mask, Pixels, mix, outline, subdue

Colour = tuple[int, int, int]

_INK: Final = (20, 20, 20)


def at_size(values: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.generic]:
    """A map at thumbnail size: each pixel takes the one under its centre."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[np.ix_(rows, columns)]


def box_overlay(photograph: Pixels, boxes: NDArray[np.float64], scale: float) -> Pixels:
    """Boxes over a photograph.

    Parameters
    ----------
    photograph
        (h, w, 3) thumbnail.
    boxes
        (n, 4) xyxy in pixels of the original.
    scale
        Of the thumbnail.
    """
    image = Image.fromarray(subdue(photograph))
    draw = ImageDraw.Draw(image)
    for box in boxes:
        left, top, right, bottom = (float(side) * scale for side in box)
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        draw.rectangle(corners, outline=_INK, width=4)
        draw.rectangle(corners, outline=OBJECT, width=2)
    return np.asarray(image)


def mask_overlay(photograph: Pixels, mask: Mask) -> Pixels:
    """The foreground in colour, the rest subdued."""
    picture = subdue(photograph)
    picture[mask] = mix(photograph[mask], OBJECT, 0.45)
    picture[outline(mask)] = (255, 255, 255)
    return picture


def map_overlay(
    photograph: Pixels, labels: NDArray[np.integer], colours: Mapping[int, Colour]
) -> Pixels:
    """Classes, or segments, in colour; numbers without one are left subdued."""
    picture = subdue(photograph)
    for number in np.unique(labels).tolist():
        if number in colours:
            mask = labels == number
            picture[mask] = mix(photograph[mask], colours[number], 0.6)
            picture[outline(mask)] = mix(picture[outline(mask)], (255, 255, 255), 0.5)
    return picture


def masks_overlay(photograph: Pixels, masks: Sequence[Mask]) -> Pixels:
    """Instances that may overlap, each in a colour, the last below."""
    picture = subdue(photograph)
    for index in reversed(range(len(masks))):
        mask, colour = masks[index], instance_colour(index)
        picture[mask] = mix(photograph[mask], colour, 0.5)
        picture[outline(mask)] = mix(np.array(colour, np.uint8), (255, 255, 255), 0.35)
    return picture
