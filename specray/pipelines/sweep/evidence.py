"""What a sweep has found, as ``sweep.json`` and the report have it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from specray.pipelines.sweep.choosing import Bootstrap, Gain, best_of, in_segment, mean_scores
from specray.pipelines.sweep.combinations import Combination
from specray.pipelines.sweep.metrics import SetScores

Role = Literal["choice", "held out"]


@dataclass(frozen=True)
class Scored:
    """Combinations on some sets."""

    combinations: Sequence[Combination]
    sets: list[SetScores]

    def place(self, combination: Combination) -> int:
        """Where a combination is among them."""
        return list(self.combinations).index(combination)


@dataclass(frozen=True)
class Choice:
    """What the sets of the choice say."""

    papers: Combination
    leading: Combination
    """The best that ``specray segment`` can be told to do."""
    best: Combination
    """The best of all: another, where a rule is better that only the sweep knows."""
    gain: Gain
    """Of the leading over the papers', on the sets that chose it: flattering."""
    chosen: float
    """Share of the resamples in which it would have led."""

    @property
    def told(self) -> list[Combination]:
        """All of them, once each."""
        return list(dict.fromkeys([self.papers, self.leading, self.best]))


@dataclass(frozen=True)
class HeldOut:
    """What sets say that had no part in the choice: gains over the papers' choice."""

    gain: Gain
    """Of the leading."""
    gain_of_best: Gain


def choose(scored: Scored, papers: Combination, seed: int) -> Choice:
    """The combination of the highest mean score over the sets.

    Each set counts alike, and in it each of its metrics.
    """
    scores, combinations = mean_scores(scored.sets), scored.combinations
    bootstrap = Bootstrap(scored.sets, seed)
    leading = best_of(in_segment(scores, combinations), combinations, papers)
    return Choice(
        papers,
        leading,
        best_of(scores, combinations, papers),
        bootstrap.gain(scored.place(leading), scored.place(papers)),
        bootstrap.chosen(combinations, leading),
    )


def held_out_of(scored: Scored, choice: Choice, seed: int) -> HeldOut:
    """How the chosen ones do on other sets."""
    bootstrap, papers = Bootstrap(scored.sets, seed), scored.place(choice.papers)
    leading, best = scored.place(choice.leading), scored.place(choice.best)
    return HeldOut(bootstrap.gain(leading, papers), bootstrap.gain(best, papers))


def recommended_of(choice: Choice, held_out: HeldOut | None) -> Combination:
    """The leading, but the papers' choice where it does not do better on held-out images."""
    if held_out is not None and held_out.gain.mean <= 0:
        return choice.papers
    return choice.leading


def sets_of(scored: Scored, role: Role) -> list[dict[str, Any]]:
    """The sets, their counts, and what an answer scores that never looks at the image."""
    return [
        {
            "name": each.name,
            "role": role,
            "images": each.images,
            "units": len(each.units),
            "centred": {m.name: float(m.scores()[-1]) for m in each.metrics},
            "errors": each.errors,
        }
        for each in scored.sets
    ]


def combinations_of(scored: Scored) -> list[dict[str, Any]]:
    """Every combination with its scores, by set and metric, and their mean."""
    mean = mean_scores(scored.sets)
    scores = [(s.name, m.name, m.scores()) for s in scored.sets for m in s.metrics]
    found = []
    for place, one in enumerate(scored.combinations):
        by_set: dict[str, dict[str, float]] = {}
        for name, metric, values in scores:
            by_set.setdefault(name, {})[metric] = float(values[place])
        found.append({**dataclasses.asdict(one), "mean": float(mean[place]), "scores": by_set})
    return found


def score_table(scored: Sequence[tuple[Role, Scored]]) -> pa.Table:
    """``scores.parquet``: a row per combination, set and metric."""
    parts = [
        pa.table(
            {
                "set": pa.array([each.name] * count),
                "role": pa.array([role] * count),
                "metric": pa.array([metric.name] * count),
                "block": pa.array([one.block for one in of.combinations], pa.int32()),
                "feature": pa.array([one.feature for one in of.combinations]),
                "color_lambda": pa.array([one.color_lambda for one in of.combinations]),
                "sign": pa.array([one.sign for one in of.combinations]),
                "corners": pa.array([one.corners for one in of.combinations]),
                "score": pa.array(np.asarray(metric.scores()[:count])),
                "images": pa.array([each.images] * count, pa.int64()),
            }
        )
        for role, of in scored
        for count in [len(of.combinations)]
        for each in of.sets
        for metric in each.metrics
    ]
    return pa.concat_tables(parts)
