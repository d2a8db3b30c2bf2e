"""Segments described as in DSM: the class token of the crop of their box (section 3.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from specray.backbones import CropEncoder
from specray.errors import ErrorCode, ImageError, Stage
from specray.masks import Segment
from specray.pipelines.preparing import Prepared

_LARGEST_BATCH = 16
"""Crops of one size that go together: of whole images, as many as images do."""

_Patches = tuple[int, int, int, int]
"""Top, left, bottom, right in patches, the ends not included."""


def describe_crops(
    image: Prepared, segments: Sequence[Segment], cell: int, encoder: CropEncoder
) -> list[Segment]:
    """Segments with the class tokens of their crops.

    A crop is cut from the image at the size that the backbone sees, without resizing, along whole
    patches: all that the box touches. Crops of one size go together.

    Parameters
    ----------
    image
        The image.
    segments
        Its segments.
    cell
        Side in pixels of a cell of the grid.
    encoder
        Makes the features.

    Returns
    -------
    The segments, each with a (D,) float16 ``feature`` of unit length.

    Raises
    ------
    ImageError
        ``not_finite``: the backbone overflows on a crop.
    """
    pixels = image.whole_patches(encoder.patch_size)
    boxes = [_patches(segment, image, pixels, cell, encoder.patch_size) for segment in segments]
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, (top, left, bottom, right) in enumerate(boxes):
        by_size[bottom - top, right - left].append(i)
    found = list(segments)
    for members in by_size.values():
        for start in range(0, len(members), _LARGEST_BATCH):
            some = members[start : start + _LARGEST_BATCH]
            tokens = _tokens(pixels, [boxes[i] for i in some], encoder)
            for i, token in zip(some, tokens, strict=True):
                found[i] = replace(segments[i], feature=token)
    return found


def _tokens(
    pixels: NDArray[np.uint8], boxes: Sequence[_Patches], encoder: CropEncoder
) -> NDArray[np.float16]:
    side = encoder.patch_size
    crops = np.stack(
        [
            pixels[top * side : bottom * side, left * side : right * side]
            for top, left, bottom, right in boxes
        ]
    )
    tokens = encoder(torch.from_numpy(crops).permute(0, 3, 1, 2))
    if not tokens.isfinite().all():
        message = "the class token of a crop is NaN or infinite; try --precision fp32"
        raise ImageError(ErrorCode.NOT_FINITE, Stage.FEATURES, message)
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    found: NDArray[np.float16] = unit.half().cpu().numpy()
    return found


def _patches(
    segment: Segment, image: Prepared, pixels: NDArray[np.uint8], cell: int, side: int
) -> _Patches:
    """The patches that the box of a segment touches."""
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    if segment.cells is not None:
        top, left, bottom, right = (end * cell for end in segment.cells)
        return top // side, left // side, -(-bottom // side), -(-right // side)
    resized_height, resized_width, _ = image.pixels.shape
    x, y, width, height = map(round, segment.bbox)
    top, bottom = _touched(y, height, image.height, resized_height, side, rows)
    left, right = _touched(x, width, image.width, resized_width, side, columns)
    return top, left, bottom, right


def _touched(
    start: int, length: int, size: int, resized: int, side: int, count: int
) -> tuple[int, int]:
    """The patches under the centres of pixels of the original, as masks are made of them."""
    ends = (start, start + length - 1)
    first, last = ((2 * end + 1) * resized // (2 * size) // side for end in ends)
    return min(first, count - 1), min(last, count - 1) + 1
