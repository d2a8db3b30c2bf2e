"""The report of a run job from end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specray.sources import Store
from specray.tables.classes import known_classes
from specray.tables.reading import read_segments
from specray.tables.report.classes.cards import class_name, css_colour
from specray.tables.report.folder import DRAWERS, write_report
from specray.tables.report.page import page_of, settings
from specray.tables.report.records import read_reported_run
from specray.tables.report.road.maps import PairCard, draw_pair
from specray.tables.report.sample import Smallest, ranks_of

_COLUMNS: Final = ("key", "etag", "width", "height", "segments", "error")


@dataclass(frozen=True)
class RoadReportSummary:
    """What the page is about, and where it is."""

    images: int
    """Rows of the labels, good and bad."""
    classes: int
    samples: int
    """Images in the gallery."""
    unavailable: int
    """Of these, such whose photograph could not be had."""
    files: int
    bytes: int
    location: str
    """URI of the page."""


@dataclass(frozen=True)
class _ClassLine:
    """What the page says of a class."""

    id: int
    name: str
    colour: str
    before: float
    """Share of the pixels."""
    after: float
    iou: float | None
    """Of its pixels before and after."""


@dataclass
class _Maps:
    """The labels of a round."""

    sample: Smallest
    area: NDArray[np.int64]
    """(K,) pixels."""
    pixels: int = 0
    images: int = 0


def build_road_report(
    output: Store,
    source: Store,
    before: Store,
    after: Store,
    agreement: Mapping[str, Any] | None,
    links: Sequence[tuple[str, str]],
    *,
    samples: int,
) -> RoadReportSummary:
    """Write ``report/`` into the output of a run job.

    Parameters
    ----------
    output
        Of the job.
    source
        Where the photographs are.
    before, after
        The first labels, and those of the round that is shown; the same without any round.
    agreement
        Of these two, as ``agreement.json`` has it; None without any round.
    links
        Names of stages and the addresses of their own reports.
    samples
        Images in the gallery, drawn by a hash of their keys.

    Raises
    ------
    UserError
        An output holds no such run, or a store does not answer.
    """
    run = read_reported_run(output, "run")
    classes = known_classes(read_reported_run(before, "label", "predict"))
    ids = [one["id"] for one in classes]
    same = before.uri == after.uri
    first = _gathered(read_segments(before, _COLUMNS), samples, ids)
    last = first if same else _gathered(read_segments(after, _COLUMNS), samples, ids)
    of_key = {row["key"]: row for row in last.sample.rows}
    pairs = [(row, of_key[row["key"]]) for row in first.sample.rows if row["key"] in of_key]
    with ThreadPoolExecutor(DRAWERS) as pool:
        drawn = list(
            pool.map(lambda pair: draw_pair(pair[0], pair[1], source, changed=not same), pairs)
        )
    cards = [card for card, _ in drawn]
    lines = _lines(classes, first, last, agreement)
    page = page_of(
        "road.html.j2",
        run=run,
        result=run["result"],
        same=same,
        images=first.images,
        lines=lines,
        of_id={line.id: line for line in lines},
        cards=cards,
        links=links,
        settings=settings(run["configuration"], "run") + settings(run["versions"], "versions"),
    )
    files = {name: data for _, found in drawn for name, data in found.items()}
    return RoadReportSummary(
        images=first.images,
        classes=len(classes),
        samples=len(cards),
        unavailable=_unavailable(cards),
        **asdict(write_report(output, page, files)),
    )


def _gathered(tables: Iterator[pa.Table], samples: int, ids: Sequence[int]) -> _Maps:
    found = _Maps(Smallest(samples), np.zeros(len(ids), np.int64))
    order = np.asarray(ids)
    places = np.argsort(order)
    for table in tables:
        found.images += table.num_rows
        rows = table.filter(pc.is_null(table["error"]))
        if not rows.num_rows:
            continue
        found.sample.offer(ranks_of(rows), rows)
        sizes = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
        found.pixels += pc.sum(sizes).as_py()
        segments = pc.list_flatten(rows["segments"])
        index, area = (
            pc.struct_field(segments, name).to_numpy().astype(np.int64)
            for name in ("index", "area")
        )
        np.add.at(found.area, places[np.searchsorted(order[places], index)], area)
    return found


def _lines(
    classes: Sequence[Mapping[str, Any]],
    first: _Maps,
    last: _Maps,
    agreement: Mapping[str, Any] | None,
) -> list[_ClassLine]:
    """Of all classes, by falling share before."""
    rising = sorted(one["id"] for one in classes)
    iou = dict(zip(rising, agreement["iou"], strict=True)) if agreement else {}
    found = [
        _ClassLine(
            one["id"],
            class_name(one),
            css_colour(one["id"]),
            int(first.area[place]) / max(1, first.pixels),
            int(last.area[place]) / max(1, last.pixels),
            iou.get(one["id"]),
        )
        for place, one in enumerate(classes)
    ]
    return sorted(found, key=lambda line: (-line.before, line.id))


def _unavailable(cards: Sequence[PairCard]) -> int:
    return sum(card.unavailable is not None for card in cards)
