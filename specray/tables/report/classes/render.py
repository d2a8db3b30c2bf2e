"""The page on classes out of what was gathered and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from specray.tables.classes import known_classes
from specray.tables.report.classes.cards import CARDS, ClassCard, class_name, css_colour
from specray.tables.report.classes.crops import crop_name
from specray.tables.report.classes.curve import draw_curve
from specray.tables.report.classes.draw import Drawn
from specray.tables.report.classes.gather import GatheredLabels
from specray.tables.report.classes.hierarchy import draw_tree
from specray.tables.report.classes.together import co_occurrence
from specray.tables.report.faults import most_frequent
from specray.tables.report.page import page_of, settings


def render_classes(
    run: Mapping[str, Any],
    segmented: Mapping[str, Any] | None,
    found: GatheredLabels,
    classes: Sequence[ClassCard],
    drawn: Drawn,
    uri: str,
) -> str:
    """The text of ``index.html``.

    Parameters
    ----------
    run
        The record of the label or predict run.
    segmented
        That of the segment run whose segments were labelled, if it is still there.
    found
        Sums over all rows.
    classes
        All classes, the largest first.
    drawn
        Pictures.
    uri
        Where the output is, for the lines of code that open it.
    """
    clustering = run.get("clustering")
    known = known_classes(run)
    charts = draw_curve(clustering["curve"], len(known)) if clustering else []
    tree = None
    if clustering:
        tree = draw_tree(clustering["merges"], [one["points"] for one in known])
    return page_of(
        "classes.html.j2",
        run=run,
        segmented=segmented,
        result=run.get("result") or {},
        clustering=clustering,
        found=found,
        cards=classes[:CARDS],
        others=classes[CARDS:],
        of_id={one.id: one for one in classes},
        crop_name=crop_name,
        drawn=drawn,
        # the drawings hold nothing but numbers and our own words
        charts=[(chart, Markup(chart.svg)) for chart in charts],
        table=co_occurrence(found, classes),
        tree=tree,
        leaves=[(class_name(one), css_colour(one["id"])) for one in known],
        faults=most_frequent(found.faults),
        settings=settings(run["configuration"], run["job"]) + settings(run["versions"], "versions"),
        uri=uri.rstrip("/"),
    )
