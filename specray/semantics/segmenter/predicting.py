"""Logits of images in windows that overlap."""

from __future__ import annotations

from itertools import product
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import pad

from specray.semantics.segmenter.networks import SegmentationNetwork

WINDOWS: Final = 8
"""Windows that go through the network at once."""


@torch.inference_mode()
def windowed_logits(network: SegmentationNetwork, image: Tensor, window: int) -> Tensor:
    """Means of the logits of square windows, each half over the next.

    Windows begin where patches of the whole image do, and go through the network in groups that the
    image decides alone.

    Parameters
    ----------
    network
        In evaluation mode.
    image
        (1, 3, H, W) RGB, 0 to 255, uint8 or float.
    window
        Pixels of a side, rounded to the network's stride; a shorter side of the image is taken
        whole.

    Returns
    -------
    (1, K, h, w) of cells, as ``SegmentationNetwork.grid_logits``: a single window has the same.
    """
    stride, cell = network.stride, network.cell
    height, width = image.shape[-2:]
    padded = pad(image.float(), (0, -width % stride, 0, -height % stride), mode="replicate")
    side = max(round(window / stride), 1) * stride
    step = max(side // 2 // stride, 1) * stride
    rows, columns = (min(side, length) for length in padded.shape[-2:])
    starts = (window_starts(length, side, step) for length in padded.shape[-2:])
    places = list(product(*starts))
    total: Tensor | None = None
    for first in range(0, len(places), WINDOWS):
        group = places[first : first + WINDOWS]
        cut = torch.cat([padded[..., y : y + rows, x : x + columns] for y, x in group])
        logits = network.grid_logits(cut)
        if total is None:
            size = (1, network.classes, padded.shape[-2] // cell, padded.shape[-1] // cell)
            total, count = logits.new_zeros(size), logits.new_zeros(size[-2:])
        for (y, x), own in zip(group, logits, strict=True):
            here = (slice(y // cell, (y + rows) // cell), slice(x // cell, (x + columns) // cell))
            total[0, :, *here] += own
            count[here] += 1
    assert total is not None  # a side of nothing has a window, too
    return total / count


def window_starts(length: int, window: int, step: int) -> list[int]:
    """Where windows begin along a side, so that they cover it.

    Examples
    --------
    >>> window_starts(10, 4, 4), window_starts(3, 4, 4)
    ([0, 4, 6], [0])
    """
    last = max(length - window, 0)
    return [*range(0, last, step), last]
