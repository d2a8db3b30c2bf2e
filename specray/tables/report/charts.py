"""Histograms as SVG that takes its colours and fonts from the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from specray.tables.report.histogram import Histogram
from specray.tables.report.svg import ACCENT, svg_of

BARS: Final = 25
"""Bars of a chart, about."""


@dataclass(frozen=True)
class Chart:
    """A histogram with its caption."""

    title: str
    svg: str
    summary: str
    """Median and middle half, in words."""


@dataclass(frozen=True)
class _Kind:
    """How a histogram is shown."""

    title: str
    axis: str
    unit: str = ""
    digits: int = 2
    whole: bool = False
    """Show the empty ends too."""
    log: bool = False
    integer: bool = False
    counted: str = "images"


_KINDS: Final = {
    "object_score": _Kind("Object score", "score of object 0", whole=True),
    "object_share": _Kind("Object size", "area of object 0 / area of the image", whole=True),
    "regions": _Kind("Regions per image", "regions, background included", digits=0, integer=True),
    "instances": _Kind("Instances per image", "instances", digits=0, integer=True),
    "instance_score": _Kind("Instance score", "score of an instance", counted="instances"),
    "primaps": _Kind("Primaps per image", "primaps", digits=0, integer=True),
    "megapixels": _Kind("Image size", "megapixels", unit=" MP", log=True),
    "fiedler": _Kind("Fiedler eigenvalue", "λ₁ of the normalised Laplacian", digits=3),
}


def draw_charts(histograms: dict[str, Histogram]) -> list[Chart]:
    """A chart of every histogram that holds a value.

    Parameters
    ----------
    histograms
        By the names that `specray.tables.report.gather` gives them.
    """
    return [
        Chart(kind.title, _svg(name, kind, histograms[name]), _summary(kind, histograms[name]))
        for name, kind in _KINDS.items()
        if histograms[name].total
    ]


def _summary(kind: _Kind, histogram: Histogram) -> str:
    low, median, high = (
        f"{histogram.quantile(share):z.{kind.digits}f}" for share in (0.25, 0.5, 0.75)
    )
    return f"Median {median}{kind.unit}; half of the {kind.counted} lie between {low} and {high}."


def _svg(name: str, kind: _Kind, histogram: Histogram) -> str:
    description = f"Histogram. {kind.title}: {_summary(kind, histogram)}"
    return svg_of(name, description, lambda axes: _draw(axes, kind, histogram))


def _draw(axes: Axes, kind: _Kind, histogram: Histogram) -> None:
    edges, counts = histogram.bars(len(histogram.counts) if kind.integer else BARS, kind.whole)
    if kind.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    if kind.integer:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.bar(edges[:-1], counts, 0.94 * np.diff(edges), align="edge", color=ACCENT)
    axes.set_xlim(min(0, edges[0]) if kind.integer else edges[0], edges[-1])
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y")
    axes.set_xlabel(kind.axis)
    axes.set_ylabel(kind.counted)
