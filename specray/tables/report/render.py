"""The page out of what was gathered and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from specray.tables.report.cards import Card
from specray.tables.report.charts import draw_charts
from specray.tables.report.cutouts import Cutouts
from specray.tables.report.faults import most_frequent
from specray.tables.report.gather import Gathered
from specray.tables.report.page import page_of, settings
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
    charts = draw_charts(found.histograms)
    return page_of(
        "report.html.j2",
        run=run,
        result=run.get("result") or {},
        found=found,
        faults=most_frequent(found.faults),
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
