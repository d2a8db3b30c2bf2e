"""How alike two labellings of the same images are: selection without ground truth.

Two rounds of self-training, two seeds, a network and the labels it learnt from: where they agree,
labels are stable. Sums over images add up, so that shards may be compared one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.evaluation import Confusion, confusion, hungarian_by_pixels
from specray.semantics.segmenter.loss import IGNORED

NOTABLE: Final = 0.01
"""Share of the pixels that a class must have had for its loss to count: what is smaller may well
have been noise."""
LEFT: Final = 0.1
"""Share of the pixels of a class that must have kept it, or it is lost."""


@dataclass(frozen=True)
class Agreement:
    """Pixels of some images by their class in one labelling and in another.

    Examples
    --------
    >>> one, other = np.array([[0, 0, 1, 1]]), np.array([[1, 1, 0, 1]])
    >>> found = Agreement.of(one, other, classes=2)
    >>> found.same, found.renumbered().same
    (0.25, 0.75)
    """

    matrix: Confusion
    """(K + 1, K) as of `specray.evaluation.confusion`: rows of the new labelling, columns of the
    old one; in the last row what only the old one labels."""

    @classmethod
    def none(cls, classes: int) -> Agreement:
        """Of no images, to begin a sum with."""
        return cls(np.zeros((classes + 1, classes), np.int64))

    @classmethod
    def of(cls, new: NDArray[np.integer], old: NDArray[np.integer], classes: int) -> Agreement:
        """Of an image: (H, W) classes each, 255 where there is none.

        Pixels without an old label do not count; those without a new one are not the same.
        """
        predicted = np.where(new == IGNORED, -1, new.astype(np.int64))
        return cls(confusion(predicted, old, classes, classes, IGNORED))

    def __add__(self, other: Agreement) -> Agreement:
        """Of the images of both."""
        return Agreement(self.matrix + other.matrix)

    @property
    def pixels(self) -> int:
        """That have an old label."""
        return int(self.matrix.sum())

    @property
    def same(self) -> float:
        """Share of the pixels whose class is the same; NaN without pixels."""
        return float(np.trace(self.matrix) / self.pixels) if self.pixels else float("nan")

    @property
    def iou(self) -> NDArray[np.float64]:
        """(K,) of each class in both labellings; NaN where neither has it."""
        both = np.diagonal(self.matrix)
        union = self.matrix[:-1].sum(axis=1) + self.matrix.sum(axis=0) - both
        return np.where(union > 0, both / np.maximum(union, 1), np.nan)

    @property
    def miou(self) -> float:
        """Mean of `iou` over the classes that either labelling has."""
        iou = self.iou
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    def lost(self) -> tuple[int, ...]:
        """Classes of the old labelling that the new one has all but given up.

        They had `NOTABLE` of the pixels at least, of which less than `LEFT` have the class still.

        Examples
        --------
        >>> one, other = np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 2]])
        >>> Agreement.of(one, other, classes=3).lost()
        (1, 2)
        """
        before = self.matrix.sum(axis=0)
        few = np.diagonal(self.matrix) < LEFT * before
        notable = before >= max(NOTABLE * self.pixels, 1)
        return tuple(np.flatnonzero(few & notable).tolist())

    def renumbered(self) -> Agreement:
        """With the new classes numbered as the old ones that they share most pixels with.

        For labellings whose numbers mean nothing to each other, such as those of two clusterings;
        one to one, by Hungarian matching. A class that shares no pixel takes a number left over.
        """
        matching = hungarian_by_pixels(self.matrix)
        left = iter(np.setdiff1d(np.arange(len(matching)), matching))
        target = np.array([next(left) if found < 0 else found for found in matching])
        matrix = self.matrix.copy()
        matrix[target] = self.matrix[:-1]
        return Agreement(matrix)


def is_stable(agreements: Sequence[float], enough: float, least_gain: float = 0.0) -> bool:
    """Whether further rounds are in vain.

    Parameters
    ----------
    agreements
        Of each round's labels with those of the round before (`Agreement.same` or `miou`), from the
        first round on.
    enough
        Labels that agree as much do not change any more.
    least_gain
        A round whose agreement exceeds that of the round before by no more is the last: labels then
        wander instead of settling.

    Examples
    --------
    >>> is_stable([0.80], 0.98), is_stable([0.80, 0.99], 0.98), is_stable([0.80, 0.79], 0.98)
    (False, True, True)
    """
    if not agreements:
        return False
    settled = agreements[-1] >= enough
    return settled or (len(agreements) > 1 and agreements[-1] - agreements[-2] <= least_gain)
