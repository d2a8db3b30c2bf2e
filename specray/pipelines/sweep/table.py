"""Scores as lines to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from specray.pipelines.sweep.combinations import Combination
from specray.pipelines.sweep.evidence import Choice, Scored
from specray.tables.report.sweep.words import rule_in_words

_BEST: Final = "*"


def tables_of(scored: Scored, choice: Choice) -> str:
    """Blocks by features for every set and metric, in percent, by the papers' rule.

    The best of a table has a star. Then the rules beside each other.
    """
    parts = ["\n".join(_table(scored, choice.papers, *of)) for of in _figures(scored)]
    return "\n\n".join([*parts, "\n".join(_rules(scored, choice.papers))])


def _figures(scored: Scored) -> Iterator[tuple[str, list[float], float]]:
    """Of every set and metric its title, the scores of the combinations, the trivial one."""
    for each in scored.sets:
        for metric in each.metrics:
            *scores, centred = metric.scores().tolist()
            yield f"{each.name}, {metric.name} %, {each.images} images", scores, centred


def _table(
    scored: Scored, papers: Combination, title: str, scores: Sequence[float], centred: float
) -> Iterator[str]:
    of = {
        (one.block, one.feature): score
        for one, score in zip(scored.combinations, scores, strict=True)
        if one.rule == papers.rule
    }
    features = list(dict.fromkeys(feature for _, feature in of))
    best = max(of.values())
    yield f"{title} (centred box {100 * centred:.1f})"
    yield "block" + "".join(f"{feature:>8}" for feature in features)
    for block in sorted({block for block, _ in of}):
        cells = (of.get((block, feature)) for feature in features)
        yield f"{block:5}" + "".join(_cell(score, best) for score in cells)


def _cell(score: float | None, best: float) -> str:
    if score is None:
        return f"{'–':>7} "
    return f"{100 * score:7.1f}{_BEST if score == best else ' '}"


def _rules(scored: Scored, papers: Combination) -> Iterator[str]:
    """What each rule makes of the papers' feature, and of the best one for it, on each set."""
    yield "rules: the feature of the papers / the best one by this rule"
    rules = dict.fromkeys(one.rule for one in scored.combinations)
    for title, scores, _ in _figures(scored):
        yield f"  {title}"
        for rule in rules:
            of = {
                one: score
                for one, score in zip(scored.combinations, scores, strict=True)
                if one.rule == rule
            }
            best = max(of, key=lambda one: of[one])
            theirs = [of[x] for x in of if (x.block, x.feature) == (papers.block, papers.feature)]
            known = f"{100 * theirs[0]:.1f}" if theirs else "–"
            named = f"{best.feature} of block {best.block}"
            yield f"    {rule_in_words(*rule):45} {known:>5} / {100 * of[best]:.1f} ({named})"
