"""Overlays at thumbnail size: a photograph, its object, its regions, its eigenvectors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from scipy import ndimage

from specray.errors import ErrorCode, ImageError, Stage
from specray.sources.decode import HOSTILE_BYTES
from specray.tables.rows import Row

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LONG_SIDE: Final = 480
"""Pixels of the longer side of a thumbnail."""

OBJECT: Final = (255, 138, 0)
"""Colour of the object, and of the positive side of an eigenvector."""

PALETTE: Final = (
    (0, 158, 190),
    (230, 97, 1),
    (122, 80, 200),
    (60, 160, 60),
    (222, 45, 110),
    (240, 190, 30),
    (40, 90, 200),
    (150, 90, 50),
    (130, 200, 70),
    (250, 140, 180),
)
"""Colours of the regions from index 1 on; they repeat."""


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) of a thumbnail: smaller if need be, never larger.

    Examples
    --------
    >>> thumbnail_size(1000, 2000), thumbnail_size(30, 40), thumbnail_size(1, 9000)
    ((240, 480), (30, 40), (1, 480))
    """
    scale = min(1.0, LONG_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def segment_mask(segment: Row, size: tuple[int, int]) -> Mask:
    """The mask of a segment at thumbnail size: each pixel takes the one under its centre.

    Parameters
    ----------
    segment
        A value of the ``segments`` column.
    size
        (height, width) of the thumbnail.
    """
    full = coco_mask.decode(segment["rle"])
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, full.shape, strict=True)
    )
    mask: Mask = full[rows][:, columns] != 0
    return mask


def object_overlay(photograph: Pixels, objects: Sequence[Row], width: int) -> Pixels:
    """Object 0 strong with its box, the others faint, the rest subdued.

    Parameters
    ----------
    photograph
        (h, w, 3) thumbnail.
    objects
        Segments of method ``object``.
    width
        Pixels of the original image: the boxes are in these.
    """
    size = photograph.shape[:2]
    masks = {segment["index"]: segment_mask(segment, size) for segment in objects}
    picture = subdue(photograph)
    for index, mask in masks.items():
        if index > 0:
            picture[mask] = mix(photograph[mask], OBJECT, 0.25)
    if 0 in masks:
        picture[masks[0]] = mix(photograph[masks[0]], OBJECT, 0.45)
        picture[outline(masks[0])] = (255, 255, 255)
    boxes = [segment["bbox"] for segment in objects if segment["index"] == 0]
    return _with_boxes(picture, boxes, size[1] / width)


def region_overlay(photograph: Pixels, regions: Sequence[Row]) -> Pixels:
    """Every region in its colour; index 0, the background, subdued.

    Parameters
    ----------
    photograph
        (h, w, 3) thumbnail.
    regions
        Segments of method ``region``.
    """
    picture = subdue(photograph)
    for segment in regions:
        if segment["index"] > 0:
            mask = segment_mask(segment, photograph.shape[:2])
            colour = PALETTE[(segment["index"] - 1) % len(PALETTE)]
            picture[mask] = mix(photograph[mask], colour, 0.55)
            picture[outline(mask)] = (255, 255, 255)
    return picture


def heat_map(vector: NDArray[np.float64]) -> Pixels:
    """An eigenvector on its grid, one pixel per cell.

    Orange is positive (of x_1: the object's side), violet negative, white zero. The colours are
    full from the 98th percentile of the magnitudes on: a few cells in a corner often hold far
    larger values than all others.

    Parameters
    ----------
    vector
        (grid_h, grid_w).

    Returns
    -------
    (grid_h, grid_w, 3) uint8.
    """
    full = float(np.quantile(np.abs(vector), 0.98)) or 1.0
    colours = matplotlib.colormaps["PuOr_r"](vector / full / 2 + 0.5, bytes=True)
    return np.asarray(colours[..., :3], dtype=np.uint8)


def density_map(counts: NDArray[np.int64]) -> Pixels:
    """A map of counts as the object's colour, the opaquer the more: it suits any page.

    Returns
    -------
    (h, w, 4) uint8, RGBA.
    """
    opacity = counts * 255 // max(int(counts.max()), 1)
    colour = np.broadcast_to(np.array(OBJECT), (*counts.shape, 3))
    return np.concatenate([colour, opacity[..., None]], axis=2).astype(np.uint8)


def cutout_thumbnail(data: bytes, height: int, width: int) -> Pixels:
    """A picture of the edit job at thumbnail size, with its transparency.

    Parameters
    ----------
    data
        The file.
    height, width
        Pixels that it must have, those of its photograph.

    Returns
    -------
    (h, w, 4) uint8, colours not multiplied by alpha; (h, w, 3) where there is no transparency.

    Raises
    ------
    ImageError
        It is no such picture.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
            if image.size == (width, height) and image.mode in ("RGB", "RGBA"):
                # Pillow weighs colours by alpha, so that what is transparent does not shine through
                small = image.resize(thumbnail_size(height, width)[::-1], Image.Resampling.BICUBIC)
                return np.asarray(small)
    except HOSTILE_BYTES:
        pass
    message = f"is no longer a picture of {width} x {height} pixels"
    raise ImageError(ErrorCode.CORRUPT, Stage.DECODE, message)


def blank(size: tuple[int, int]) -> Pixels:
    """What stands for a photograph that is not there: even grey."""
    return np.full((*size, 3), 128, dtype=np.uint8)


def webp(picture: Pixels) -> bytes:
    """Encode a photograph."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def png(picture: Pixels) -> bytes:
    """Encode a map, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def mix(pixels: Pixels, colour: tuple[int, int, int], share: float) -> Pixels:
    """Pixels of which a share is replaced by a colour."""
    mixed = pixels * (1 - share) + np.array(colour) * share
    return mixed.round().astype(np.uint8)


def subdue(photograph: Pixels) -> Pixels:
    """Half way to grey, and darker."""
    grey = photograph.mean(axis=2, keepdims=True)
    subdued: Pixels = ((photograph * 0.4 + grey * 0.6) * 0.6).astype(np.uint8)
    return subdued


def outline(mask: Mask) -> Mask:
    """The outermost pixels of a mask, without those at the border of the picture."""
    inner: Mask = ndimage.binary_erosion(mask, np.ones((3, 3)), border_value=1)
    return mask & ~inner


def _with_boxes(picture: Pixels, boxes: Sequence[Sequence[float]], scale: float) -> Pixels:
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for x, y, width, height in boxes:
        left, top = x * scale, y * scale
        right, bottom = (x + width) * scale - 1, (y + height) * scale - 1
        corners = (left, top, max(left, right), max(top, bottom))
        draw.rectangle(corners, outline=(20, 20, 20), width=4)
        draw.rectangle(corners, outline=OBJECT, width=2)
    return np.asarray(image)
