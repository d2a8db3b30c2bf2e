"""An image's objects against its ground truth, for many combinations at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from specray.evaluation import box_iou, centred_box, centred_mask, fixed, foreground
from specray.evaluation.boxes import Boxes
from specray.masks.geometry import ImageGeometry, to_image

OVERLAP: Final = 0.5
"""Least IoU of a box that hits."""
BOX_SIDE: Final = 0.7
"""Side of the box in the middle that stands for no method at all, as a share of the image's."""
MASK_SIDE: Final = 0.6
"""The same for masks; both as in ``specray benchmark``."""


@dataclass(frozen=True)
class ImageScores:
    """What the combinations score on an image; the last entry is the trivial answer."""

    hits: NDArray[np.uint8] | None
    """(C + 1,) whether the box of object 0 hits; None without true boxes."""
    ious: NDArray[np.int64] | None
    """(C + 1,) of the foreground, `specray.evaluation.fixed`; None without a true mask."""


def image_scores(
    labels: Sequence[NDArray[np.int64]],
    geometry: ImageGeometry,
    boxes: Boxes | None,
    mask: NDArray[np.bool_] | None,
) -> ImageScores:
    """Score the objects of all combinations.

    Parameters
    ----------
    labels
        (C,) maps (h, w) as of `specray.masks.object_labels`.
    geometry
        Sizes of the image and of its grid.
    boxes
        (M, 4) true boxes; none known, or an image without any, is not evaluated.
    mask
        (H, W) true foreground, if it is known.
    """
    hits = None if boxes is None or not len(boxes) else _hits(labels, geometry, boxes)
    return ImageScores(hits, None if mask is None else _ious(labels, geometry, mask))


def _hits(
    labels: Sequence[NDArray[np.int64]], geometry: ImageGeometry, truth: Boxes
) -> NDArray[np.uint8]:
    trivial = centred_box(geometry.height, geometry.width, BOX_SIDE)
    boxes = [*(object_box(each, geometry) for each in labels), trivial]
    hits: NDArray[np.uint8] = (box_iou(boxes, truth).max(axis=1) >= OVERLAP).astype(np.uint8)
    return hits


def object_box(labels: NDArray[np.int64], geometry: ImageGeometry) -> NDArray[np.float64]:
    """(4,) xyxy pixels of object 0, whole cells of the grid (DSM's protocol).

    Without the strip beyond the last whole cell, which our masks cover and the papers' do not.
    """
    rows, columns = ndimage.find_objects(labels, max_label=1)[0]
    cells = np.array([columns.start, rows.start, columns.stop, rows.stop], dtype=np.float64)
    sizes = [geometry.width, geometry.height] * 2
    seen = [geometry.resized_width, geometry.resized_height] * 2
    box: NDArray[np.float64] = cells * geometry.patch * sizes / seen
    return box


def _ious(
    labels: Sequence[NDArray[np.int64]], geometry: ImageGeometry, truth: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Of pixels, by how many of them each cell has: no combination needs a mask of its own."""
    cells = geometry.grid_h * geometry.grid_w
    places = to_image(np.arange(cells).reshape(geometry.grid_h, geometry.grid_w), geometry)
    area = np.bincount(places.ravel(), minlength=cells)
    true = np.bincount(places[truth], minlength=cells)
    found = np.stack(labels).reshape(len(labels), cells) > 0
    both = found @ true
    union = found @ area + true.sum() - both
    middle = foreground(centred_mask(geometry.height, geometry.width, MASK_SIDE), truth)
    return fixed(np.append(both / np.maximum(union, 1), middle.iou))
