"""The report of a sweep job: heat maps of its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from specray.sources import Store
from specray.tables.report.folder import Written, write_report
from specray.tables.report.page import page_of, settings
from specray.tables.report.sweep.words import gain_in_words, in_words, rule_in_words


@dataclass(frozen=True)
class Cell:
    """A score in a table."""

    percent: str
    shade: int
    """0 for the least of its set and metric, 100 for the best."""
    best: bool
    papers: bool
    leading: bool


@dataclass(frozen=True)
class Heat:
    """Blocks by features, by one rule."""

    rule: str
    features: list[str]
    rows: list[tuple[int, list[Cell | None]]]


@dataclass(frozen=True)
class Figure:
    """All tables of a set and metric."""

    title: str
    images: int
    centred: str
    """What a box or rectangle in the middle scores."""
    heats: list[Heat]


def build_sweep_report(output: Store, found: Mapping[str, Any], run: Mapping[str, Any]) -> Written:
    """Write ``report/`` into the output of a sweep job.

    Parameters
    ----------
    output
        Of the job.
    found
        What ``sweep.json`` says.
    run
        The run record.
    """
    held_out = found["held_out"] or {}
    page = page_of(
        "sweep.html.j2",
        found=found,
        papers=in_words(found["papers"]),
        recommended=in_words(found["recommended"]),
        leading=in_words(found["leading"]),
        best=in_words(found["best"]),
        gain=gain_in_words(found["gain"]),
        held_out_gain=gain_in_words(held_out["gain"]) if held_out else None,
        gain_of_best=gain_in_words(held_out["gain_of_best"]) if held_out else None,
        figures=list(figures_of(found)),
        unseen=list(_held_out(found)),
        errors=[(s["name"], e) for s in found["sets"] for e in s["errors"][:50]],
        settings=settings(run["configuration"], "sweep") + settings(run["versions"], "versions"),
        version=run["versions"]["specray"],
    )
    return write_report(output, page, {})


def figures_of(found: Mapping[str, Any]) -> Iterator[Figure]:
    """Heat maps of every set and metric that had a part in the choice."""
    for each in found["sets"]:
        if each["role"] == "choice":
            for metric, centred in each["centred"].items():
                heats = _heats(found, each["name"], metric)
                title = f"{each['name']}, {metric}"
                yield Figure(title, each["images"], f"{100 * centred:.1f}", heats)


def _heats(found: Mapping[str, Any], name: str, metric: str) -> list[Heat]:
    combinations = found["combinations"]
    scores = [one["scores"][name][metric] for one in combinations]
    low, high = min(scores), max(scores)
    features = list(dict.fromkeys(one["feature"] for one in combinations))
    blocks = sorted({one["block"] for one in combinations})
    by_rule: dict[str, dict[tuple[int, str], Cell]] = {}
    for one, score in zip(combinations, scores, strict=True):
        rule = rule_in_words(one["color_lambda"], one["sign"], one["corners"])
        cell = Cell(
            f"{100 * score:.1f}",
            round(100 * (score - low) / (high - low)) if high > low else 0,
            score == high,
            _is(one, found["papers"]),
            _is(one, found["leading"]),
        )
        by_rule.setdefault(rule, {})[one["block"], one["feature"]] = cell
    return [
        Heat(rule, features, [(b, [cells.get((b, f)) for f in features]) for b in blocks])
        for rule, cells in by_rule.items()
    ]


def _held_out(found: Mapping[str, Any]) -> Iterator[tuple[str, int, list[tuple[str, str]]]]:
    """Of every held-out set and metric its title, images, and scores by combination."""
    for each in found["sets"]:
        if each["role"] == "choice":
            continue
        for metric, centred in each["centred"].items():
            scores = [
                (in_words(one), f"{100 * one['scores'][each['name']][metric]:.1f}")
                for one in found["held_out"]["combinations"]
            ]
            scores.append(("in the middle", f"{100 * centred:.1f}"))
            yield f"{each['name']}, {metric}", each["images"], scores


def _is(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == value for name, value in other.items())
