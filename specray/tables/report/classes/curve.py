"""The K curve: what speaks for each number of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from specray.tables.report.svg import ACCENT, TEXT, svg_of


@dataclass(frozen=True)
class CurveChart:
    """A measure over the number of classes."""

    title: str
    svg: str
    meaning: str


_MEASURES: Final = {
    "stability": (
        "Stability",
        "Adjusted Rand index of clusterings of different halves of the points, with its standard "
        "deviation: 1 where both halves give the same classes.",
    ),
    "silhouette": (
        "Silhouette",
        "How much nearer points are to their own class than to the next one: 1 at best, 0 where "
        "classes touch.",
    ),
    "inertia": (
        "Inertia",
        "Mean squared distance of the points to their class. It always falls; a bend says that "
        "more classes divide what belongs together.",
    ),
}


def draw_curve(curve: Sequence[Mapping[str, Any]], chosen: int) -> list[CurveChart]:
    """A chart of every measure; none without a curve.

    Parameters
    ----------
    curve
        Of the run record: a mapping per number of classes.
    chosen
        The number of classes of the run, which is marked.
    """
    if not curve:
        return []
    points = sorted(curve, key=lambda point: point["classes"])
    return [
        CurveChart(title, _svg(measure, title, points, chosen), meaning)
        for measure, (title, meaning) in _MEASURES.items()
    ]


def _svg(measure: str, title: str, points: Sequence[Mapping[str, Any]], chosen: int) -> str:
    classes = np.array([point["classes"] for point in points])
    values = _values(points, measure)
    description = f"{title} for {classes[0]} to {classes[-1]} classes; {chosen} were chosen"
    at_chosen = values[(classes == chosen) & np.isfinite(values)]
    if len(at_chosen):
        description += f", with {at_chosen[0]:.3f}"

    def draw(axes: Axes) -> None:
        axes.axvline(chosen, color=TEXT, linewidth=1, linestyle=(0, (3, 3)))
        if measure == "stability":
            spread = _values(points, "stability_sd")
            axes.fill_between(
                classes, values - spread, values + spread, color=ACCENT, alpha=0.18, linewidth=0
            )
        axes.plot(classes, values, color=ACCENT, linewidth=1.6, marker="o", markersize=2.5)
        axes.plot(np.full(len(at_chosen), chosen), at_chosen, "o", color=ACCENT, markersize=6)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y")
        axes.set_xlabel("classes")

    return svg_of(f"curve-{measure}", description, draw)


def _values(points: Sequence[Mapping[str, Any]], measure: str) -> Any:
    """As float64, null as NaN, which leaves a gap."""
    return np.array([point[measure] for point in points], dtype=np.float64)
