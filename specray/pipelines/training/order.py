"""In which order the images of an epoch come: the same for any number of workers.

A batch has a place for each of its images, a lane. Every lane goes through its own stretch of the
shuffled epoch, so that whoever holds a lane reads its groups of rows one after the other, and
nobody reads those of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specray.seeds import derive_seed


@dataclass(frozen=True)
class Epoch:
    """A shuffled pass over all images, as lanes."""

    group: NDArray[np.int64]
    """(batch, steps) group of every image."""
    row: NDArray[np.int64]
    """(batch, steps) place among the images of its group."""

    @property
    def steps(self) -> int:
        """Batches; what is left over is left out of this epoch."""
        return int(self.group.shape[1])


def shuffled(sizes: Sequence[int], batch: int, seed: int, epoch: int) -> Epoch:
    """The order of an epoch, decided by the seed and its number.

    Groups are shuffled, and images within their groups.

    Parameters
    ----------
    sizes
        Images of every group.
    batch
        Images of a batch, at most all.
    seed, epoch
        Of the run; number of the epoch from 0.

    Examples
    --------
    >>> epoch = shuffled([3, 4], 2, seed=0, epoch=0)
    >>> epoch.steps, epoch.group.shape
    (3, (2, 3))
    """
    random = np.random.default_rng(derive_seed(seed, f"epoch {epoch}"))
    counts = np.asarray(sizes, np.int64)
    group = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rank = random.permutation(len(counts))
    order = np.lexsort((random.random(len(group)), rank[group]))
    steps = len(group) // batch
    kept = order[: steps * batch].reshape(batch, steps)
    return Epoch(group[kept], row[kept])
