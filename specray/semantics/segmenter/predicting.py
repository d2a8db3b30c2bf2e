"""Logits of whole images: in one piece, or in windows that overlap.

Images go through the network one by one, and windows in groups that an image decides alone: so the
result for an image does not depend on which others are with it, to the bit.
"""

from __future__ import annotations

from itertools import product
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from specray.semantics.segmenter.networks import SegmentationNetwork

WINDOWS: Final = 8
"""Windows that go through the network at once."""


@torch.inference_mode()
def resized_logits(
    network: SegmentationNetwork, images: Tensor, short_side: int | None = None
) -> Tensor:
    """Logits of images in one piece.

    Parameters
    ----------
    network
        In evaluation mode.
    images
        (B, 3, H, W) RGB, 0 to 255, uint8 or float.
    short_side
        Pixels that it has when the network sees it; None leaves the size. Sides that are no
        multiples of the network's stride are continued by their last row and column.

    Returns
    -------
    (B, K, H, W) float32.
    """
    height, width = images.shape[-2:]
    size = _size(height, width, short_side)
    found = []
    for image in images:
        logits = network(_resized(image[None], size))
        if size != (height, width):
            logits = interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        found.append(logits)
    return torch.cat(found)


@torch.inference_mode()
def sliding_logits(
    network: SegmentationNetwork,
    images: Tensor,
    window: int,
    stride: int,
    short_side: int | None = None,
) -> Tensor:
    """Means of the logits of square windows; what one window covers is as `resized_logits`.

    Parameters
    ----------
    network, images, short_side
        As of `resized_logits`.
    window
        Pixels of a side, at the size that the network sees; a shorter side of the image is taken
        whole.
    stride
        Pixels from a window to the next, at most; the last ends where the image does.

    Returns
    -------
    (B, K, H, W) float32.

    Raises
    ------
    ValueError
        The stride leaves pixels out between windows.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"a stride of {stride} pixels for windows of {window}")
    height, width = images.shape[-2:]
    size = _size(height, width, short_side)
    found = []
    for image in images:
        logits = _sliding(network, _resized(image[None], size), window, stride)
        if size != (height, width):
            logits = interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        found.append(logits)
    return torch.cat(found)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side, so that they cover it.

    Examples
    --------
    >>> window_starts(10, 4, 4), window_starts(3, 4, 4)
    ([0, 4, 6], [0])
    """
    last = max(length - window, 0)
    return [*range(0, last, stride), last]


def _sliding(network: SegmentationNetwork, image: Tensor, window: int, stride: int) -> Tensor:
    height, width = image.shape[-2:]
    rows, columns = min(window, height), min(window, width)
    places = list(
        product(window_starts(height, window, stride), window_starts(width, window, stride))
    )
    total = torch.zeros(1, network.classes, height, width, device=network.statistics.device)
    count = torch.zeros(height, width, device=total.device)
    for first in range(0, len(places), WINDOWS):
        group = places[first : first + WINDOWS]
        cut = torch.cat([image[..., y : y + rows, x : x + columns] for y, x in group])
        for (y, x), logits in zip(group, network(cut), strict=True):
            total[0, :, y : y + rows, x : x + columns] += logits
            count[y : y + rows, x : x + columns] += 1
    return total / count


def _size(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    if short_side is None:
        return height, width
    scale = short_side / min(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(1, 3, H, W) at another size, cubic as in training."""
    if image.shape[-2:] == size:
        return image
    resized = interpolate(
        image.float(), size=size, mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(0, 255)
