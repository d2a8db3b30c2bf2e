"""How many pixels of every cell of the grid a mask covers, from its run-length encoding alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from specray.kernels import compiled
from specray.masks.geometry import ImageGeometry
from specray.masks.rle import RLE, run_edges


def cell_coverage(masks: Sequence[RLE], geometry: ImageGeometry) -> NDArray[np.int64]:
    """Pixels of masks in every cell.

    A pixel belongs to the cell under its centre, one of the remainder that the grid does not cover
    to the nearest cell.

    Parameters
    ----------
    masks
        (S,) at the size of the original image.
    geometry
        Sizes of the image and of its grid.

    Returns
    -------
    (S, grid_h * grid_w) int64 pixels of the original image.
    """
    rows = _edges(geometry.height, geometry.resized_height, geometry.grid_h, geometry.patch)
    columns = _cells(geometry.width, geometry.resized_width, geometry.grid_w, geometry.patch)
    covered = np.zeros((len(masks), geometry.grid_h, geometry.grid_w), np.int64)
    for mask, count in zip(masks, covered, strict=True):
        _add_runs(run_edges(mask), rows, columns, count)
    return covered.reshape(len(masks), geometry.grid_h * geometry.grid_w)


def _cells(size: int, resized: int, cells: int, patch: int) -> NDArray[np.int64]:
    """(size,) cell of every row or column of pixels."""
    pixel = (2 * np.arange(size) + 1) * resized // (2 * size)  # as `to_blocks` has it
    return np.minimum(pixel // patch, cells - 1)


def _edges(size: int, resized: int, cells: int, patch: int) -> NDArray[np.int64]:
    """(cells + 1,) first row of pixels of every cell, and the number of rows."""
    return np.searchsorted(_cells(size, resized, cells, patch), np.arange(cells + 1))


@compiled
def _add_runs(edges, rows, columns, covered):  # type: ignore[no-untyped-def]
    height = rows[-1]
    for run in range(1, len(edges) - 1, 2):
        pixel, end = edges[run], edges[run + 1]
        while pixel < end:
            column, top = pixel // height, pixel % height
            bottom = min(top + end - pixel, height)
            cell = np.searchsorted(rows, top, side="right") - 1
            y = top
            while y < bottom:
                foot = min(rows[cell + 1], bottom)
                covered[cell, columns[column]] += foot - y
                y = foot
                cell += 1
            pixel += bottom - top
