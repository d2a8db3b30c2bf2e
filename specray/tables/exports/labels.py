"""Masks of an image painted into one map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.tables.exports.annotations import AnnotatedImage


def label_map(image: AnnotatedImage, labels: Sequence[int]) -> NDArray[np.uint32]:
    """Paint every mask with its label; 0 is where no mask is.

    Where masks overlap, which those of one method do not, the lower index wins: it has the higher
    rank.

    Parameters
    ----------
    image
        With H x W pixels.
    labels
        One for each of its annotations.

    Returns
    -------
    (H, W) uint32.
    """
    painted = np.zeros((image.height, image.width), dtype=np.uint32)
    for annotation, label in zip(reversed(image.annotations), reversed(labels), strict=True):
        painted[coco_mask.decode(annotation.rle).view(np.bool_)] = label
    return painted
