"""How alike two labellings of the same images are: selection without ground truth.

Two rounds of self-training, a network and the labels it learnt from: where they agree, labels are
stable. Sums over images add up, so that shards may be compared one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.evaluation import Confusion, confusion
from specray.semantics.segmenter.loss import IGNORED

LEFT: Final = 0.1
"""Share of the pixels of a class that must have kept it, or it is lost."""
COLLAPSE: Final = 0.05
"""Share of all pixels that lost classes may have had: a network that has not learnt enough gives up
large classes, one that has may still pass over a small one, which may have been noise."""


@dataclass(frozen=True)
class Agreement:
    """Pixels of some images by their class in one labelling and in another.

    Examples
    --------
    >>> one, other = np.array([[0, 0, 1, 1]]), np.array([[1, 1, 0, 1]])
    >>> found = Agreement.of(one, other, classes=2)
    >>> found.same
    0.25
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

        Of their pixels less than `LEFT` have the class still.

        Examples
        --------
        >>> one, other = np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 2]])
        >>> Agreement.of(one, other, classes=3).lost()
        (1, 2)
        """
        before = self.matrix.sum(axis=0)
        return tuple(np.flatnonzero(np.diagonal(self.matrix) < LEFT * before).tolist())

    @property
    def has_collapsed(self) -> bool:
        """Whether the lost classes had more than `COLLAPSE` of the pixels."""
        return bool(self.matrix.sum(axis=0)[list(self.lost())].sum() > COLLAPSE * self.pixels)
