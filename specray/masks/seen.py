"""Masks of the original image at the pixels that the backbone saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.kernels import compiled
from specray.masks.geometry import ImageGeometry
from specray.masks.rle import RLE, run_edges

NO_MASK: Final = 255
"""Value of pixels that belong to no mask."""


def seen_masks(masks: Sequence[RLE], geometry: ImageGeometry) -> NDArray[np.uint8]:
    """The mask at every pixel of the grid of patches, in the image as it was resized.

    A pixel takes what the original has under its centre. The masks are read run by run, whatever
    their size.

    Parameters
    ----------
    masks
        (M,) of the original image, at most 255; where they overlap the last one counts.
    geometry
        Sizes of the image and of its grid.

    Returns
    -------
    (grid_h * patch, grid_w * patch) uint8 position of the mask, or `NO_MASK`.

    Raises
    ------
    ValueError
        There are more masks than that.
    """
    if len(masks) > NO_MASK:
        raise ValueError(f"{len(masks)} masks in an image; {NO_MASK} are the most")
    g = geometry
    rows = _under(g.grid_h * g.patch, g.resized_height, g.height)
    columns = _under(g.grid_w * g.patch, g.resized_width, g.width)
    found = np.full((len(rows), len(columns)), NO_MASK, np.uint8)
    for value, mask in enumerate(masks):
        _draw(run_edges(mask), rows, columns, g.height, np.uint8(value), found)
    return found


def seen_labels(labels: NDArray[np.uint8], geometry: ImageGeometry) -> NDArray[np.uint8]:
    """A label map of the original image at the same pixels: (H, W) to (h * patch, w * patch)."""
    g = geometry
    rows = _under(g.grid_h * g.patch, g.resized_height, g.height)
    columns = _under(g.grid_w * g.patch, g.resized_width, g.width)
    return labels[np.ix_(rows, columns)]


def _under(seen: int, resized: int, size: int) -> NDArray[np.int64]:
    """(seen,) rows or columns of the original under the centres of the resized ones."""
    return (2 * np.arange(seen) + 1) * size // (2 * resized)


@compiled
def _draw(edges, rows, columns, height, value, found):  # type: ignore[no-untyped-def]
    run = 0
    for x in range(len(columns)):
        for y in range(len(rows)):
            pixel = columns[x] * height + rows[y]
            while edges[run + 1] <= pixel:
                run += 1
            if run % 2 == 1:
                found[y, x] = value
        # the next column may be the same again
        while run and edges[run] > columns[x] * height:
            run -= 1
