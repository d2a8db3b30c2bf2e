"""The number of regions by the largest gap between eigenvalues (DSM, section 3.3)."""

from __future__ import annotations

from torch import Tensor


def eigengap_clusters(values: Tensor) -> Tensor:
    """Number of clusters: the eigenvalues before the largest gap, the first gap excluded.

    With gaps ``g_i = values[i + 1] - values[i]`` it is ``1 + argmax_{i >= 1} g_i``. The first gap
    is never chosen: it would mean one region.

    Parameters
    ----------
    values
        (B, K) eigenvalues, ascending.

    Returns
    -------
    (B,) int64 in 2..K-1; 2 where K < 3 leaves no gap to choose.
    """
    if values.shape[1] < 3:
        return values.new_full(values.shape[:1], 2).long()
    return values.diff(dim=1)[:, 1:].argmax(dim=1) + 2
