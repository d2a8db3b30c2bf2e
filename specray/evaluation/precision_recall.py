"""COCO's precision and recall of ranked predictions, where images may count several times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.evaluation.matches import THRESHOLDS, Ranked

RECALLS: Final = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Curve:
    """Predictions of one range of area at one threshold of IoU, the best first."""

    right: NDArray[np.int64]
    """(P,) images of those that are right."""
    wrong: NDArray[np.int64]
    """(Q,) images of those that are wrong."""
    before: NDArray[np.int64]
    """(P,) how many wrong ones come before each right one."""


def curves(ranking: Ranked, area: int) -> list[Curve]:
    """The T curves of a range of area, without predictions that are ignored there."""
    found = []
    for threshold in range(THRESHOLDS):
        matched, ignored = (
            (bits[:, area] >> threshold & 1).astype(np.bool_)
            for bits in (ranking.matched, ranking.ignored)
        )
        right, wrong = matched & ~ignored, ~matched & ~ignored
        before = wrong.cumsum()[right]
        found.append(Curve(ranking.image[right], ranking.image[wrong], before))
    return found


def average_precision(curve: Curve, weights: NDArray[np.int64], instances: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or a larger one; 0 beyond.

    Parameters
    ----------
    curve
        Of predictions within the limit of an image.
    weights
        (images,) how often an image counts, as if it were there as often; its copies of a
        prediction follow each other.
    instances
        To find, by the same weights.

    Returns
    -------
    In [0, 1]; NaN where there is nothing to find.

    References
    ----------
    T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV 2014.
    """
    if instances == 0:
        return float("nan")
    # between two that are right, recall stands still and precision falls: look at those alone
    tp = weights[curve.right].cumsum()
    fp = np.append(0, weights[curve.wrong].cumsum())[curve.before]
    precision = tp / (fp + tp + np.spacing(1))  # COCO's, to the last bit
    best = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(tp / instances, RECALLS)
    return float(np.append(best, 0.0)[reached].mean())


def recall(curve: Curve, weights: NDArray[np.int64], instances: int) -> float:
    """Share of the instances that are found; parameters as of `average_precision`."""
    return int(weights[curve.right].sum()) / instances if instances else float("nan")
