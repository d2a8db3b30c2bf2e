"""From scores to a default, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from specray.evaluation import interval, replicate_weights
from specray.pipelines.sweep.combinations import Combination
from specray.pipelines.sweep.metrics import SetScores

RESAMPLES: Final = 2001
"""The first is the sets as they are."""


@dataclass(frozen=True)
class Gain:
    """How much better one combination is than another, as a share of 1."""

    mean: float
    """Over the sets, of the mean over their metrics."""
    low: float
    """95 % interval of a paired bootstrap over images, or over videos."""
    high: float
    better: float
    """Share of the resamples in which it is better."""


def mean_scores(sets: Sequence[SetScores]) -> NDArray[np.float64]:
    """(C + 1,) mean over the sets of the mean over their metrics."""
    found: NDArray[np.float64] = np.mean([each.scores() for each in sets], axis=0)
    return found


def best_of(
    scores: NDArray[np.float64], combinations: Sequence[Combination], papers: Combination
) -> Combination:
    """The combination of the highest score; the papers' choice where none is higher.

    Parameters
    ----------
    scores
        (C + 1,) or (C,), see `mean_scores`.
    combinations
        (C,) theirs; others than those in question may be left out by a score of -inf.
    papers
        One of them.
    """
    best = int(np.argmax(scores[: len(combinations)]))
    ahead = scores[best] > scores[list(combinations).index(papers)]
    return combinations[best] if ahead else papers


def in_segment(
    scores: NDArray[np.float64], combinations: Sequence[Combination]
) -> NDArray[np.float64]:
    """(..., C) scores, -inf for what ``specray segment`` cannot be told to do."""
    possible = [each.in_segment for each in combinations]
    return np.where(possible, scores[..., : len(combinations)], -np.inf)


class Bootstrap:
    """Scores on sets drawn anew: whole units, the same ones for all combinations.

    Parameters
    ----------
    sets
        What the combinations score.
    seed
        Of the run.
    """

    def __init__(self, sets: Sequence[SetScores], seed: int) -> None:
        self._scores = mean_scores(sets)
        self._drawn = np.mean([each.scores(_counts(each, seed)) for each in sets], axis=0)

    def gain(self, place: int, over: int) -> Gain:
        """Of one combination over another, by their places."""
        gains = self._drawn[:, place] - self._drawn[:, over]
        mean = float(self._scores[place] - self._scores[over])
        return Gain(mean, *interval(gains), better=float(np.mean(gains[1:] > 0)))

    def chosen(self, combinations: Sequence[Combination], one: Combination) -> float:
        """Share of the resamples in which a combination would have been the best for segment."""
        winners = in_segment(self._drawn[1:], combinations).argmax(axis=1)
        return float(np.mean(winners == list(combinations).index(one)))


def _counts(scores: SetScores, seed: int) -> NDArray[np.float64]:
    """(R, U) how often each unit is drawn; the first time, once."""
    weights = [replicate_weights(seed, f"{scores.name} {u}", RESAMPLES) for u in scores.units]
    return np.stack(weights, axis=1).astype(np.float64)
