"""Connected components of a mask on the grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from specray.masks.config import Connectivity


def component_labels(mask: NDArray[np.bool_], connectivity: Connectivity = 8) -> NDArray[np.int64]:
    """Number the connected components of a mask by falling area.

    Parameters
    ----------
    mask
        (h, w) bool.
    connectivity
        8 if cells that touch at a corner are connected (DSM), 4 if not (LOST).

    Returns
    -------
    (h, w) int64: 0 outside the mask, 1 for the largest component, 2 for the next, ...
    Equal areas are ordered by their first cell in row-major order.
    """
    structure = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    found, count = ndimage.label(mask, structure)
    # components are found in row-major order of their first cells
    order = np.argsort(-np.bincount(found.ravel(), minlength=count + 1)[1:], kind="stable")
    rank = np.zeros(count + 1, dtype=np.int64)
    rank[order + 1] = np.arange(1, count + 1)
    labels: NDArray[np.int64] = rank[found]
    return labels
