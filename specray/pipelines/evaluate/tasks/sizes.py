"""Sizes of what is compared: of maps, which must be the same, and of the trivial answers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.errors import UserError

SIDES: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the boxes and rectangles in the middle, as shares of the image's sides."""


def check_size(
    key: str, predicted: NDArray[np.generic], truth: NDArray[np.generic], what: str
) -> None:
    """Refuse two maps of different sizes.

    Raises
    ------
    UserError
        They are; names the image.
    """
    if predicted.shape != truth.shape:
        ours, theirs = (f"{m.shape[1]} x {m.shape[0]}" for m in (predicted, truth))
        raise UserError(
            f"{what} of {key} has {ours} pixels, its ground truth {theirs}: predictions are to be "
            "of the original image"
        )
