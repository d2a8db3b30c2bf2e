"""Masks that are compared are of one size: nobody else would say so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from specray.masks.rle import RLE


def check_shapes(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> None:
    """Check two maps.

    Raises
    ------
    ValueError
        If their sizes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {prediction.shape}, ground truth is {truth.shape}")


def check_sizes(masks: Sequence[RLE]) -> None:
    """Check the encoded masks of one image.

    Raises
    ------
    ValueError
        If they are of different sizes.
    """
    sizes = {tuple(mask["size"]) for mask in masks}
    if len(sizes) > 1:
        raise ValueError(f"masks of one image have different sizes: {sorted(sizes)}")
