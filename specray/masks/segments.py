"""Segments: the masks of an image as rows of the output table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from specray.masks.geometry import Blocks, ImageGeometry, to_blocks
from specray.masks.morphology import erode_dilate
from specray.masks.resize import resize_labels
from specray.masks.rle import RLE, encode, label_runs

Box = tuple[float, float, float, float]
CellBox = tuple[int, int, int, int]
"""Top, left, bottom, right in cells of the grid, the ends not included."""


class Boxed(NamedTuple):
    """Where a segment is said to be, if not where its mask is."""

    bbox: Box
    """In pixels of the original image."""
    cells: CellBox
    """Of the grid."""


@dataclass(frozen=True)
class Segment:
    """One mask of one image, in pixels of the original image."""

    method: str
    """``object``, ``region``, ..."""
    index: int
    """Rank within the method: 0 is the object, or the background region."""
    score: float
    """In [0, 1], higher is surer."""
    bbox: Box
    """[x, y, width, height], tight around the mask unless the method says otherwise."""
    area: int
    """Pixels of the mask."""
    rle: RLE
    """The mask."""
    feature: NDArray[np.float16] | None = None
    """(D,) descriptor of the segment, if one was asked for."""
    cells: CellBox | None = None
    """The box in cells of the grid, where it is made of these: `bbox` may end in the remainder."""


def segments_from_labels(
    labels: NDArray[np.int64],
    geometry: ImageGeometry,
    method: str,
    scores: Sequence[float] | NDArray[np.float64],
    erode: int = 0,
    dilate: int = 0,
) -> list[Segment]:
    """One segment for every label of a map of the grid that covers a pixel of the image.

    Parameters
    ----------
    labels
        (grid_h, grid_w) int64; the label is the segment's index, cells of no segment have -1.
    geometry
        Sizes of the image and of its grid.
    method
        Method that made the labels.
    scores
        Score of every label.
    erode, dilate
        Steps, in cells, on a copy of the mask from which the box is taken (DSM's boxes).

    Returns
    -------
    Segments by rising index. Masks are disjoint, and cover the image if no label is -1.
    """
    blocks = to_blocks(labels, geometry)
    boxed = morphology_boxes(labels, geometry, erode, dilate)
    segments = _segments(blocks, method, scores, boxed)
    if boxed is not None:
        return segments
    cells = _extents(labels)
    return [replace(segment, cells=cells[segment.index]) for segment in segments]


def segments_from_pixels(
    labels: NDArray[np.int32],
    geometry: ImageGeometry,
    method: str,
    scores: Sequence[float] | NDArray[np.float64],
    boxes: Mapping[int, Boxed] | None = None,
) -> list[Segment]:
    """One segment for every label of a map of pixels, at any size; see `segments_from_labels`.

    Parameters
    ----------
    labels
        (h, w) int32; pixels of no segment have -1.
    geometry
        Sizes of the original image.
    method, scores
        As there.
    boxes
        Boxes of labels; the others have tight ones.
    """
    full = resize_labels(labels, geometry.height, geometry.width)
    ones = (np.ones(side, dtype=np.int64) for side in full.shape)
    return _segments(Blocks(full, *ones), method, scores, boxes)


def morphology_boxes(
    labels: NDArray[np.int64], geometry: ImageGeometry, erode: int, dilate: int
) -> dict[int, Boxed] | None:
    """Boxes of labels of a grid after erosion and dilation, where they cover a pixel.

    None if there is neither erosion nor dilation.
    """
    if not (erode or dilate):
        return None
    found = {}
    for label in np.unique(labels[labels >= 0]).tolist():
        refined = erode_dilate(labels == label, erode, dilate).astype(np.int64) - 1
        box = _boxes(to_blocks(refined, geometry)).get(0)
        if box is not None:  # the cells of a small image that was enlarged may cover no pixel
            found[label] = Boxed(box, _extents(refined)[0])
    return found


def _segments(
    blocks: Blocks,
    method: str,
    scores: Sequence[float] | NDArray[np.float64],
    boxed: Mapping[int, Boxed] | None,
) -> list[Segment]:
    size = (int(blocks.heights.sum()), int(blocks.widths.sum()))
    runs = label_runs(blocks)
    areas = np.bincount(runs.labels + 1, weights=np.diff(runs.edges))[1:]
    boxed = boxed or {}
    boxes = _boxes(blocks) | {label: box.bbox for label, box in boxed.items()}
    return [
        Segment(
            method=method,
            index=label,
            score=float(scores[label]),
            bbox=boxes[label],
            area=int(areas[label]),
            rle=encode(runs, label, size),
            cells=boxed[label].cells if label in boxed else None,
        )
        for label in np.flatnonzero(areas).tolist()
    ]


def _boxes(blocks: Blocks) -> dict[int, Box]:
    """Tight box of every label from 0 up that occurs."""
    bottom, right = np.cumsum(blocks.heights), np.cumsum(blocks.widths)
    boxes = {}
    for label, extent in enumerate(ndimage.find_objects(blocks.labels + 1)):
        if extent is not None:
            rows, columns = extent
            y = bottom[rows.start] - blocks.heights[rows.start]
            x = right[columns.start] - blocks.widths[columns.start]
            width, height = right[columns.stop - 1] - x, bottom[rows.stop - 1] - y
            boxes[label] = (float(x), float(y), float(width), float(height))
    return boxes


def _extents(labels: NDArray[np.int64]) -> dict[int, CellBox]:
    """Cells of every label from 0 up that occurs."""
    return {
        label: (rows.start, columns.start, rows.stop, columns.stop)
        for label, extent in enumerate(ndimage.find_objects(labels + 1))
        if extent is not None
        for rows, columns in [extent]
    }
