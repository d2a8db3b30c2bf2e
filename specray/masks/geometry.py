"""From the grid of the eigenvectors to the pixels of the original image.

A label map of the grid, blown up to the image, consists of few distinct rows and columns. `Blocks`
keeps it in that form: everything that is needed of a mask (runs, area, box) can be computed
without an array of the image's size. Refined masks have blocks of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageGeometry:
    """Where the grid of the eigenvectors lies in the original image.

    The image (`height` x `width` pixels) was resized to `resized_height` x `resized_width` (the
    same if it was not). The grid covers its top-left ``grid_h * patch`` x ``grid_w * patch``
    pixels; a remainder at the right and at the bottom is not covered.
    """

    height: int
    """Pixels of the original image."""
    width: int
    resized_height: int
    """Pixels of the image that was cut into patches."""
    resized_width: int
    patch: int
    """Side of a grid cell in pixels of the resized image."""
    grid_h: int
    """Cells of the grid."""
    grid_w: int

    @property
    def cell_area(self) -> float:
        """Pixels of the original image that a cell covers."""
        shrunk = self.resized_height * self.resized_width / (self.height * self.width)
        return self.patch**2 / shrunk

    def at_size(self, height: int, width: int) -> ImageGeometry:
        """The same grid on the image at another size."""
        return replace(self, height=height, width=width)


@dataclass(frozen=True)
class Blocks:
    """A label map at the size of the original image, as a grid of blocks of constant label.

    The map itself is ``repeat(repeat(labels, heights, axis=0), widths, axis=1)``.
    """

    labels: NDArray[np.integer]
    """(h', w') label of every block."""
    heights: NDArray[np.int64]
    """(h',) pixels of every row of blocks; they sum to the height of the image."""
    widths: NDArray[np.int64]
    """(w',) pixels of every column of blocks; they sum to the width of the image."""


def to_blocks(labels: NDArray[np.int64], geometry: ImageGeometry) -> Blocks:
    """Blow a label map of the grid up to the original image.

    A pixel under the grid takes the label of its cell. A pixel of the uncovered remainder takes
    the label that a nearest-neighbour resize of the whole grid to the whole (resized) image gives
    it (DSM's border rule). If the image had been resized, every pixel of the original takes the
    label of the resized pixel under its centre.

    Parameters
    ----------
    labels
        (grid_h, grid_w) int64.
    geometry
        Sizes of the image and of its grid.
    """
    g = geometry
    rows = _axis(g.height, g.resized_height, g.grid_h, g.patch)
    columns = _axis(g.width, g.resized_width, g.grid_w, g.patch)
    replicated = labels[rows.replicated][:, columns.replicated]
    stretched = labels[rows.stretched][:, columns.stretched]
    covered = rows.covered[:, None] & columns.covered
    return Blocks(np.where(covered, replicated, stretched), rows.lengths, columns.lengths)


def to_image(labels: NDArray[np.int64], geometry: ImageGeometry) -> NDArray[np.int64]:
    """Blow a label map of the grid up to pixels: `to_blocks`, written out.

    Returns
    -------
    (height, width) int64.

    Examples
    --------
    >>> grid = np.array([[0, 1]])
    >>> to_image(grid, ImageGeometry(2, 5, 2, 5, patch=2, grid_h=1, grid_w=2))
    array([[0, 0, 1, 1, 1],
           [0, 0, 1, 1, 1]])
    """
    blocks = to_blocks(labels, geometry)
    image = blocks.labels.repeat(blocks.heights, axis=0).repeat(blocks.widths, axis=1)
    return image.astype(np.int64, copy=False)


@dataclass(frozen=True)
class _Axis:
    """Rows (or columns) of the image in groups that read the same cells; arrays of (groups,)."""

    covered: NDArray[np.bool_]  # under the grid, or in the remainder
    replicated: NDArray[np.int64]  # cell it lies in; of no meaning in the remainder
    stretched: NDArray[np.int64]  # cell by the resize of the whole grid to the whole image
    lengths: NDArray[np.int64]  # pixels


def _axis(size: int, resized: int, cells: int, patch: int) -> _Axis:
    # Integer arithmetic throughout: pixel centres on a cell's edge must not depend on rounding.
    pixel = (2 * np.arange(size) + 1) * resized // (2 * size)
    replicated = np.minimum(pixel // patch, cells)  # `cells` marks the remainder
    stretched = pixel * cells // resized
    changes = (np.diff(replicated) != 0) | (np.diff(stretched) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    covered = replicated[starts] < cells
    return _Axis(
        covered=covered,
        replicated=np.where(covered, replicated[starts], 0),
        stretched=stretched[starts],
        lengths=np.diff(starts, append=size),
    )
