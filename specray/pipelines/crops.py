"""Segments described as in DSM: the class token of the crop of their box (section 3.4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from specray.backbones import CropEncoder
from specray.pipelines.preparing import Prepared
from specray.tables.rows import Row

_LARGEST_BATCH = 16
"""Crops of one size that go together: of whole images, as many as images do."""

_ROUNDING = 1e-3
"""Of a side of a patch: boxes of whole patches are known to about a millionth of that."""


def describe_crops(image: Prepared, segments: Sequence[Row], encoder: CropEncoder) -> list[Row]:
    """Segments with the class tokens of their crops.

    A crop is cut from the image at the size that the backbone sees, without resizing, along whole
    patches: all that the box touches. Crops of one size go together.

    Parameters
    ----------
    image
        The image.
    segments
        Its segments; their boxes are in pixels of the original image.
    encoder
        Makes the features.

    Returns
    -------
    The segments, each with a (D,) float16 ``feature``.
    """
    pixels = image.whole_patches(encoder.patch_size)
    boxes = [_patches(segment["bbox"], image, pixels, encoder.patch_size) for segment in segments]
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, (top, left, bottom, right) in enumerate(boxes):
        by_size[bottom - top, right - left].append(i)
    rows = [dict(segment) for segment in segments]
    for members in by_size.values():
        for start in range(0, len(members), _LARGEST_BATCH):
            some = members[start : start + _LARGEST_BATCH]
            tokens = _tokens(pixels, [boxes[i] for i in some], encoder)
            for i, token in zip(some, tokens, strict=True):
                rows[i]["feature"] = token
    return rows


def _tokens(
    pixels: NDArray[np.uint8], boxes: Sequence[tuple[int, int, int, int]], encoder: CropEncoder
) -> NDArray[np.float16]:
    side = encoder.patch_size
    crops = np.stack(
        [
            pixels[top * side : bottom * side, left * side : right * side]
            for top, left, bottom, right in boxes
        ]
    )
    tokens = encoder(torch.from_numpy(crops).permute(0, 3, 1, 2))
    unit = torch.nn.functional.normalize(tokens, dim=-1)
    found: NDArray[np.float16] = unit.half().cpu().numpy()
    return found


def _patches(
    box: Sequence[float], image: Prepared, pixels: NDArray[np.uint8], side: int
) -> tuple[int, int, int, int]:
    """First row and column of patches that a box touches, and the ones behind its last."""
    resized_height, resized_width, _ = image.pixels.shape
    x, y, width, height = box
    rows = np.array([y, y + height]) * resized_height / image.height / side
    columns = np.array([x, x + width]) * resized_width / image.width / side
    top, bottom = _whole(rows, pixels.shape[0] // side)
    left, right = _whole(columns, pixels.shape[1] // side)
    return top, left, bottom, right


def _whole(ends: NDArray[np.float64], count: int) -> tuple[int, int]:
    """The patches that an interval touches, at least one of them."""
    first = min(int(np.floor(ends[0] + _ROUNDING)), count - 1)
    return first, min(max(int(np.ceil(ends[1] - _ROUNDING)), first + 1), count)
