"""Masks and maps of instances to what is asked for of them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.datasets.base import Kind, Truth
from specray.evaluation import TrueInstance, xywh_boxes
from specray.evaluation.boxes import Boxes
from specray.masks.rle import RLE


def extent(mask: NDArray[np.bool_]) -> Boxes:
    """The box of a mask, all of its parts together.

    Returns
    -------
    (1, 4), or (0, 4) of an empty mask.

    Examples
    --------
    >>> extent(np.array([[False, True, True]])).tolist()
    [[1.0, 0.0, 3.0, 1.0]]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.empty((0, 4))
    return np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float64)


def of_mask(mask: NDArray[np.bool_], wanted: Container[Kind]) -> Truth:
    """The truth of a mask: itself, and its box."""
    return Truth(
        (mask.shape[0], mask.shape[1]),
        mask=mask if "mask" in wanted else None,
        boxes=extent(mask) if "boxes" in wanted else None,
    )


def instances(
    ids: NDArray[np.integer[Any]], crowds: Iterable[int] = (), void: Iterable[int] = ()
) -> tuple[TrueInstance, ...]:
    """The instances of a map of ids, by ascending id; 0 is background.

    Parameters
    ----------
    ids
        (H, W).
    crowds
        Ids of many instances in one.
    void
        Ids of none.
    """
    crowded = frozenset(crowds)
    return tuple(
        _instance(ids == number, number in crowded)
        for number in np.unique(ids).tolist()
        if number != 0 and number not in void
    )


def boxes_of(found: Iterable[TrueInstance]) -> Boxes:
    """The boxes of instances, without crowds, (M, 4)."""
    return xywh_boxes([each["bbox"] for each in found if not each["iscrowd"]])


def _instance(mask: NDArray[np.bool_], crowd: bool) -> TrueInstance:
    rle: RLE = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return TrueInstance(
        rle=rle,
        bbox=coco_mask.toBbox(rle).tolist(),
        area=float(coco_mask.area(rle)),
        iscrowd=int(crowd),
    )
