"""Which classes are in the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Final

import numpy as np

from specray.tables.report.classes.cards import ClassCard
from specray.tables.report.classes.gather import GatheredLabels

CLASSES: Final = 24
"""Rows and columns of the table, the largest classes."""


@dataclass(frozen=True)
class Pair:
    """Two classes of the table."""

    share: float
    """Of the images with the class of the row, those with that of the column too."""
    lift: float
    """That share over the one of all images: 1 where the two know nothing of each other."""

    @property
    def strength(self) -> float:
        """The lift in [-1, 1]: 1 from twice as often as by chance on, -1 from half on."""
        return max(-1.0, min(1.0, log2(self.lift))) if self.lift else -1.0


def co_occurrence(
    found: GatheredLabels, cards: Sequence[ClassCard]
) -> list[tuple[ClassCard, list[Pair | None]]]:
    """The table, row by row; None on its diagonal, and in the row of a class of no image.

    Parameters
    ----------
    found
        Sums over all rows.
    cards
        Classes, the largest first.
    """
    shown = list(cards[:CLASSES])
    places = np.searchsorted(found.ids, [card.id for card in shown])
    both = found.together[places][:, places].toarray()
    images = max(1, found.images - found.errors)

    def pair(i: int, j: int) -> Pair | None:
        if i == j or not both[i, i]:
            return None
        share = float(both[i, j] / both[i, i])
        return Pair(share, share * images / both[j, j] if both[j, j] else 0.0)

    return [(card, [pair(i, j) for j in range(len(shown))]) for i, card in enumerate(shown)]
