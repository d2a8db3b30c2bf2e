"""Affinities made of distances, in compiled code, for one CPU thread.

Three sums over channels give all of them: of abs(u - v), of abs(u + v), and the largest
abs(u - v). The channels are the rows of the data, so that the innermost loop runs over neighbouring
patches and is vectorised with nothing to add up at its end. One half is computed, the other copied.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from specray.kernels import compiled, inlined

CompiledMetric = Literal["boc", "braycurtis", "chebyshev", "l1"]

_ONE: Final = np.float32(1)
_ZERO: Final = np.float32(0)
_TILE: Final = 512
"""Patches whose sums and channels stay in the cache."""
_TOGETHER: Final = 4
"""Channels per pass over the sums: fewer passes to load and store them, and less rounding."""
_BOC, _BRAYCURTIS, _CHEBYSHEV, _L1 = range(4)
_METRICS: Final[dict[CompiledMetric, int]] = {
    "boc": _BOC,
    "braycurtis": _BRAYCURTIS,
    "chebyshev": _CHEBYSHEV,
    "l1": _L1,
}


def compiled_affinity(features: Tensor, metric: CompiledMetric) -> Tensor:
    """As `specray.spectral.pairwise_affinity`, on a CPU.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)`` float32, finite.
    metric : {"boc", "braycurtis", "chebyshev", "l1"}
        What to compute.

    Returns
    -------
    Tensor
        ``(B, N, N)`` float32.
    """
    batch, patches, channels = features.shape
    padded = F.pad(features, (0, -channels % _TOGETHER))  # channels of zeros change no distance
    affinity = np.empty((batch, patches, patches), np.float32)
    for columns, out in zip(padded.mT.contiguous().numpy(force=True), affinity, strict=True):
        _fill(columns, out, _METRICS[metric])
    return torch.from_numpy(affinity)


@compiled
def _fill(columns, out, metric):  # type: ignore[no-untyped-def]
    """Affinities (N, N) of patches whose channels are `columns` (D, N)."""
    patches = columns.shape[1]
    # Three arrays, not one: rows of a slice of one would not be known to lie in one piece.
    difference = np.empty(_TILE, np.float32)
    total = np.empty(_TILE, np.float32)
    largest = np.empty(_TILE, np.float32)
    for start in range(0, patches, _TILE):
        stop = min(start + _TILE, patches)
        for patch in range(stop):
            first = max(start, patch)
            _add_up(columns, patch, first, stop, difference, total, largest)
            _finish(difference, total, largest, metric, out[patch, first:stop])
            if patch >= start:
                out[patch, patch] = _ONE
    _mirror(out)


@compiled
def _add_up(columns, patch, first, stop, difference, total, largest):  # type: ignore[no-untyped-def]
    """The sums of a patch and each of the patches from `first` up to `stop`."""
    count = stop - first
    difference[:count] = _ZERO
    total[:count] = _ZERO
    largest[:count] = _ZERO
    for c in range(0, len(columns), _TOGETHER):
        u0, u1 = columns[c, patch], columns[c + 1, patch]
        u2, u3 = columns[c + 2, patch], columns[c + 3, patch]
        v0, v1 = columns[c, first:stop], columns[c + 1, first:stop]
        v2, v3 = columns[c + 2, first:stop], columns[c + 3, first:stop]
        for n in range(count):
            d0, d1, d2, d3 = abs(v0[n] - u0), abs(v1[n] - u1), abs(v2[n] - u2), abs(v3[n] - u3)
            difference[n] += (d0 + d1) + (d2 + d3)
            largest[n] = max(largest[n], max(max(d0, d1), max(d2, d3)))
            total[n] += (abs(v0[n] + u0) + abs(v1[n] + u1)) + (abs(v2[n] + u2) + abs(v3[n] + u3))


@inlined
def _finish(differences, totals, largest, metric, row):  # type: ignore[no-untyped-def]
    """Turn the sums of a row into its affinities."""
    for n in range(len(row)):
        if metric == _CHEBYSHEV:
            row[n] = _ONE / (_ONE + largest[n])
        elif metric == _L1:
            row[n] = _ONE / (_ONE + differences[n])
        else:
            either = differences[n] + totals[n]  # 0 between rows of zeros alone
            similarity = totals[n] / either if either > _ZERO else _ZERO
            row[n] = similarity * (_ONE + largest[n]) if metric == _BOC else similarity


@inlined
def _mirror(square):  # type: ignore[no-untyped-def]
    """Copy the upper half to the lower one, in blocks: a whole column would miss the cache."""
    size, block = len(square), 32
    for top in range(0, size, block):
        for left in range(0, top + 1, block):
            for y in range(top, min(top + block, size)):
                for x in range(left, min(left + block, y)):
                    square[y, x] = square[x, y]
