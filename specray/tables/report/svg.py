"""Charts of Matplotlib as SVG that takes its colours and fonts from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_THEME: Final = {"#010101": "var(--accent)", "#020202": "var(--muted)", "#030303": "var(--line)"}
"""Colours that Matplotlib draws with, and what stands for them on the page."""

ACCENT, TEXT, LINE = _THEME

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "font.size": 9,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "ytick.left": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
}


def svg_of(name: str, description: str, draw: Callable[[Axes], None]) -> str:
    """The ``<svg>`` element of a chart.

    Parameters
    ----------
    name
        Of the chart, no other on the page has it.
    description
        For those who cannot see it; numbers and our own words, nothing of strangers.
    draw
        Draws it, in the colours `ACCENT`, `TEXT` and `LINE`.
    """
    buffer = io.StringIO()
    # The salt makes ids the same every time, and different between the charts of a page.
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(3.9, 2.2), layout="constrained")
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), description)


def _inline(svg: str, description: str) -> str:
    """The ``<svg>`` element alone, in the page's colours and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # would repeat from chart to chart
    svg = re.sub(r"font: (?:\d+ )?([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for drawn, themed in _THEME.items():
        svg = svg.replace(drawn, themed)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)
