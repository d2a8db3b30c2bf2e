"""The page out of what was gathered and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from specray.tables.report.cards import Card
from specray.tables.report.charts import draw_charts
from specray.tables.report.cutouts import Cutouts
from specray.tables.report.gather import Gathered
from specray.tables.run import refine_method

_REFINED: Final = {"fast": "fast CRF", "crf": "exact CRF"}
"""Methods of refinement in words."""


def render_page(
    run: dict[str, Any],
    found: Gathered,
    gallery: Sequence[Card],
    doubtful: Sequence[Card],
    cutouts: Cutouts | None,
    uri: str,
) -> str:
    """The text of ``index.html``.

    Parameters
    ----------
    run
        The run record.
    found
        Sums over all rows.
    gallery, doubtful
        Images that are shown.
    cutouts
        What an edit job made of the run.
    uri
        Where the output is, for the lines of code that open it.
    """
    environment = Environment(
        loader=PackageLoader("specray.tables.report"),
        autoescape=True,  # keys and messages come from strangers
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "file_size": _file_size, "duration": _duration}
    charts = draw_charts(found.histograms)
    return environment.get_template("report.html.j2").render(
        run=run,
        result=run.get("result") or {},
        found=found,
        faults=sorted(found.faults.items(), key=lambda item: (-item[1].count, item[0])),
        methods=run["configuration"]["methods"],
        gallery=gallery,
        doubtful=doubtful,
        cutouts=cutouts,
        refinement=refinement(run["configuration"]),
        # the drawing holds nothing but numbers and our own words
        charts=[(chart, Markup(chart.svg)) for chart in charts],
        low_score=found.histograms["object_score"].quantile(0.1),
        settings=settings(run["configuration"], run["job"]) + settings(run["versions"], "versions"),
        uri=uri.rstrip("/"),
    )


def settings(tree: dict[str, Any], title: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """A tree of mappings as titled lists of names and values, one per mapping.

    Examples
    --------
    >>> settings({"seed": 0, "images": {"limit": None, "sizes": [1, 2]}}, "segment")
    [('segment', [('seed', '0')]), ('images', [('limit', '–'), ('sizes', '1, 2')])]
    """
    leaves = [(name, _plain(value)) for name, value in tree.items() if not isinstance(value, dict)]
    found = [(title, leaves)] if leaves else []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += settings(value, name)
    return found


def refinement(configuration: Mapping[str, Any]) -> str | None:
    """How masks were refined and at which size, in words; None where they were not.

    Examples
    --------
    >>> refinement({"refinement": {"refine": "fast", "refine_size": 480}})
    'fast CRF, short side 480 px'
    """
    method = refine_method(configuration)
    if method == "none":
        return None
    size = configuration["refinement"]["refine_size"] or configuration["images"]["image_size"]
    return f"{_REFINED[method]}, {f'short side {size} px' if size else 'native size'}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)


def _count(number: int, singular: str = "", plural: str | None = None) -> str:
    """A number with thousands set apart, and the noun that goes with it."""
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {noun}".rstrip() if singular else f"{number:,}"


def _file_size(size: float) -> str:
    """Bytes in decimal units."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
