"""Predictions of another size than the ground truth are refused in one line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from specray.errors import UserError


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
