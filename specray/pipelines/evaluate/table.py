"""Scores as lines to read, in percent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def table_of(scores: Mapping[str, Any]) -> str:
    """What scores.json says, for a terminal.

    Examples
    --------
    >>> print(table_of({"images": 3, "failed": 1, "missing": 0, "without_truth": 0, "runs": [{}],
    ...     "figures": {"localisation.corloc": {"value": 0.5, "low": 0.25, "high": 0.75,
    ...         "trivial": 0.3, "answer": "a box in the middle", "published":
    ...         {"value": 0.627, "sd": None, "difference": -0.127, "source": "DSM, table 1"}}}}))
    figure                   %         95 %     trivial  published  difference
    localisation.corloc   50.0  25.0 - 75.0        30.0       62.7       -12.7
    trivial: a box in the middle
    published: localisation.corloc: DSM, table 1
    3 images, 1 without a prediction
    """
    return "\n".join(_lines(scores))


def _lines(scores: Mapping[str, Any]) -> Iterator[str]:
    figures = scores["figures"]
    several = len(scores["runs"]) > 1
    published = any("published" in figure for figure in figures.values())
    width = max(20, *map(len, figures))
    head = f"{'figure':{width}}  {'%':>5}  {'over runs' if several else '95 %':>11}  {'trivial':>9}"
    yield (head + f"  {'published':>9}  {'difference':>10}" if published else head).rstrip()
    for name, figure in figures.items():
        line = f"{name:{width}} {_percent(figure['value'])}"
        line += f"  {_spread(figure, several=several):>11}  {_percent(figure['trivial']):>9}"
        if published:
            line += _published(figure.get("published"))
        yield line.rstrip()
    for run in scores["runs"][:1]:
        if "semantic" in run:
            yield from _classes(run["semantic"])
    answers = {figure["answer"] for figure in figures.values() if figure["answer"]}
    if answers:
        yield f"trivial: {'; '.join(sorted(answers))}"
    for name, figure in figures.items():
        if "published" in figure:
            yield f"published: {name}: {figure['published']['source']}"
    yield _counts(scores)


def _published(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    difference = found["difference"]
    told = "–" if difference is None else f"{100 * difference:+.1f}"
    sd = "" if found["sd"] is None else f" ± {100 * found['sd']:.1f}"
    return f"  {100 * found['value']:>9.1f}{sd}  {told:>10}"


def _spread(figure: Mapping[str, Any], *, several: bool) -> str:
    if several:
        return "" if figure["sd"] is None else f"± {100 * figure['sd']:.1f} ({figure['runs']})"
    if figure["low"] is None:
        return ""
    return f"{100 * figure['low']:.1f} - {100 * figure['high']:.1f}"


def _percent(value: float | None) -> str:
    return f"{'–':>6}" if value is None else f"{100 * value:6.1f}"


def _classes(semantic: Mapping[str, Any]) -> Iterator[str]:
    classes = semantic["classes"]
    width = max(9, *(len(each["name"]) for each in classes))
    total = max(sum(each["pixels"] for each in classes), 1)
    yield f"{'class':{width}}  IoU %  pixels %  found as ({semantic['matching']})"
    for each in classes:
        iou = "    –" if each["iou"] is None else f"{100 * each['iou']:5.1f}"
        found = ", ".join(each["found_as"]) or "–"
        yield f"{each['name']:{width}}  {iou}  {100 * each['pixels'] / total:8.1f}  {found}"


def _counts(scores: Mapping[str, Any]) -> str:
    parts = [f"{scores['images']:,} images"]
    if scores["failed"]:
        parts.append(f"{scores['failed']:,} without a prediction")
    if scores["missing"]:
        parts.append(f"{scores['missing']:,} that the predictions do not have")
    if scores["without_truth"]:
        parts.append(f"{scores['without_truth']:,} more without ground truth")
    return ", ".join(parts)
