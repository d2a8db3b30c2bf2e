"""The border of the image, as segments meet it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ends(masks: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
    """The patches of every mask (S, h, w) on each of the four sides: (S, w) or (S, h)."""
    return masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]
