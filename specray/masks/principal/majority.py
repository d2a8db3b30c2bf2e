"""The majority filter that takes single cells out of proposals."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

MAJORITY: Final = 5
"""Of the nine cells of a window."""


def majority_filter(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give every cell the label that most cells of its 3 x 3 window have, or none.

    This is the median of every label's mask. Beyond the border the map is mirrored, the border
    itself not repeated.

    Parameters
    ----------
    labels
        (h, w) int64 from -1 up; -1 is no label, and no cell counts for it.

    Returns
    -------
    (h, w) int64; a cell where no label has five of nine gets -1.
    """
    windows = sliding_window_view(np.pad(labels, 1, mode="reflect"), (3, 3)).reshape(
        *labels.shape, 9
    )
    # what five of nine numbers are is the fifth of them
    middle = np.partition(windows, 4, axis=-1)[..., 4]
    frequent = (windows == middle[..., None]).sum(axis=-1) >= MAJORITY
    return np.where(frequent, middle, -1)
