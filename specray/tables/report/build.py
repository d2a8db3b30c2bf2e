"""The report from end to end: read the shards once, draw the sample, write the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

from specray.sources import Store
from specray.tables.reading import read_segments
from specray.tables.report.cards import Drawing, draw_card, draw_doubtful
from specray.tables.report.cutouts import check_cutouts, gather_cutouts
from specray.tables.report.folder import DRAWERS, write_report
from specray.tables.report.gather import gather
from specray.tables.report.pictures import density_map, png
from specray.tables.report.records import read_reported_run
from specray.tables.report.render import render_page
from specray.tables.rows import Row
from specray.tables.schema import FEATURES, MASKS, SEGMENTS

COLUMNS: Final = (
    *(name for name in SEGMENTS.names if name not in {"segments", *FEATURES}),
    *MASKS,
)
"""Of the segment table: all but the features, which are most of its bytes."""


@dataclass(frozen=True)
class ReportSummary:
    """What a report is about, and where it is."""

    images: int
    """Rows of the output, good and bad."""
    errors: int
    samples: int
    """Images in the gallery."""
    unavailable: int
    """Images of the gallery whose photograph could not be shown."""
    cutouts: int
    """Images of the gallery whose cut-out is shown."""
    files: int
    bytes: int
    location: str
    """URI of the page."""


def build_report(
    output: Store, source: Store | None, *, samples: int, edits: Store | None = None
) -> ReportSummary:
    """Write ``report/`` into an output: ``index.html`` and the pictures it shows.

    One pass over the shards; memory and the size of the report depend on `samples`, not on the
    number of images. The same output and the same photographs give the same bytes.

    Parameters
    ----------
    output
        Where the segment job wrote. A report that is there is replaced.
    source
        Where the photographs are; None draws the masks without them.
    samples
        Images in the gallery.
    edits
        Where an edit job of this run wrote; None shows no cut-outs.

    Raises
    ------
    UserError
        The output holds no run, the edits are not of this run, or a store does not answer.
    """
    run = read_reported_run(output, "segment")
    if edits is not None:
        check_cutouts(edits, run)  # before the long way through the rows
    found = gather(read_segments(output, COLUMNS), samples, run["configuration"]["methods"])
    shown = found.gallery
    cutouts = None
    if edits is not None:
        cutouts = gather_cutouts(edits, run, [row["key"] for row in shown])
    card = partial(draw_card, configuration=run["configuration"], cutouts=cutouts)
    cards = _draw_all(shown, source, card)
    doubtful = _draw_all(found.doubtful.rows, source, draw_doubtful)

    pictures = {"places.png": png(density_map(found.places))}
    for drawing in (*cards, *doubtful):
        pictures |= drawing.files
    gallery = [drawing.card for drawing in cards]
    page = render_page(run, found, gallery, [d.card for d in doubtful], cutouts, output.uri)
    written = write_report(output, page, pictures)
    return ReportSummary(
        images=found.images,
        errors=found.errors,
        samples=len(gallery),
        unavailable=sum(card.unavailable is not None for card in gallery),
        cutouts=sum("cutout" in card.pictures for card in gallery),
        **asdict(written),
    )


def _draw_all(
    rows: Sequence[Row], source: Store | None, draw: Callable[[Row, Store | None], Drawing]
) -> list[Drawing]:
    with ThreadPoolExecutor(DRAWERS) as pool:
        return list(pool.map(lambda row: draw(row, source), rows))
