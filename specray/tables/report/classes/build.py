"""The report of a label or predict run from end to end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from specray.sources import Store
from specray.tables.classes import known_classes
from specray.tables.reading import read_segments
from specray.tables.report.classes.cards import CARDS, class_cards
from specray.tables.report.classes.draw import draw_all
from specray.tables.report.classes.gather import gather_labels
from specray.tables.report.classes.render import render_classes
from specray.tables.report.folder import write_report
from specray.tables.report.records import read_reported_run
from specray.tables.schema import LABELS


@dataclass(frozen=True)
class LabelReportSummary:
    """What a report on classes is about, and where it is."""

    images: int
    """Rows of the output, good and bad."""
    errors: int
    classes: int
    samples: int
    """Images in the gallery."""
    photographs: int
    """That the page shows, whole or in part."""
    unavailable: int
    """Of those, such that could not be had."""
    files: int
    bytes: int
    location: str
    """URI of the page."""


def build_label_report(
    output: Store,
    source: Store | None,
    *,
    samples: int,
    segmented: Mapping[str, Any] | None = None,
) -> LabelReportSummary:
    """Write ``report/`` into the output of a label or predict run: ``index.html`` and its pictures.

    One pass over the shards. Memory and the size of the report depend on `samples` and on the
    number of classes, not on the number of images. The same output and the same photographs give
    the same bytes.

    Parameters
    ----------
    output
        Where the job wrote. A report that is there is replaced.
    source
        Where the photographs are; None draws the masks without them.
    samples
        Images in the gallery.
    segmented
        The record of the segment run whose segments were labelled, if it is still there.

    Raises
    ------
    UserError
        The output holds no such run, its rows have a class that its record does not have, or a
        store does not answer.
    """
    run = read_reported_run(output, "label", "predict")
    clustering = {"classes": known_classes(run)}
    found = gather_labels(read_segments(output, LABELS.names), samples, clustering)
    classes = class_cards(found, clustering)
    drawn = draw_all(classes[:CARDS], found.sample.rows, source)
    page = render_classes(run, segmented, found, classes, drawn, output.uri)
    return LabelReportSummary(
        images=found.images,
        errors=found.errors,
        classes=len(classes),
        samples=len(drawn.maps),
        photographs=drawn.photographs,
        unavailable=len(drawn.unavailable),
        **asdict(write_report(output, page, drawn.files)),
    )
