"""Which region is the background (DSM, section 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def background_first(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give label 0 to the region that holds most of the image border.

    The cells of the four border lines are counted (corners twice); the winner, the lowest label
    on ties, swaps its number with label 0, so the set of labels stays the same unless 0 was unused.

    Parameters
    ----------
    labels
        (h, w) int64, not negative.

    Returns
    -------
    (h, w) int64.
    """
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    background = int(np.bincount(border).argmax())
    swap = np.arange(labels.max() + 1)
    swap[0], swap[background] = background, 0
    return swap[labels]
