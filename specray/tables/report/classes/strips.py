"""Which regions of each class are shown: some at random, the most and the least certain."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specray.tables.report.classes.points import Ints, Masks, Points
from specray.tables.report.sample import Smallest
from specray.tables.rows import Row

STRIPS: Final = {"random": 7, "surest": 7, "doubtful": 7}
"""Regions in each strip of a class, at most one of an image."""


class Strips:
    """The regions to show of each class, drawn while the rows go by.

    Nothing depends on the order of the rows. Memory holds 21 masks per class.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], Smallest] = {}

    def offer(self, rows: pa.Table, masks: Masks, points: Points) -> None:
        """Consider the regions of some good rows."""
        values = {
            "random": np.zeros(len(points.row)),
            "surest": -points.confidence,
            "doubtful": points.confidence,
        }
        for strip, most in STRIPS.items():
            chosen = lowest_per_class(values[strip], points, most)
            table = region_table(rows, masks, points, chosen)
            keys, indices = table["key"].to_pylist(), points.index[chosen].tolist()
            draws = points.draw[chosen].tolist()
            ranks = list(zip(values[strip][chosen].tolist(), draws, keys, indices, strict=True))
            position = points.position[chosen]
            for place in np.unique(position).tolist():
                first, last = np.searchsorted(position, (place, place + 1)).tolist()
                kept = self._kept.setdefault((place, strip), Smallest(most))
                kept.offer(ranks[first:last], table.slice(first, last - first))

    def of(self, position: int) -> dict[str, list[Row]]:
        """The regions of a class, by strip; see `region_table` for what they are."""
        kept = ((strip, self._kept.get((position, strip))) for strip in STRIPS)
        return {strip: smallest.rows if smallest else [] for strip, smallest in kept}


def lowest_per_class(values: NDArray[np.float64], points: Points, most: int) -> Ints:
    """The regions of the lowest value of each class, at most one of an image.

    Parameters
    ----------
    values
        (P,) one per region; of equal ones the draw decides.
    points
        The regions.
    most
        Of a class.

    Returns
    -------
    Their positions, class after class, by rising value.
    """
    order = np.lexsort((points.draw, values, points.position))
    rows = 1 + points.row.max(initial=0)
    _, first = np.unique((points.position * rows + points.row)[order], return_index=True)
    order = order[np.sort(first)]
    position = points.position[order]
    return order[np.arange(len(order)) - np.searchsorted(position, position) < most]


def region_table(rows: pa.Table, masks: Masks, points: Points, chosen: Ints) -> pa.Table:
    """Regions with what it takes to draw them, one per row.

    Columns: those of the image (``key``, ``etag``, ``width``, ``height``) and of the region
    (``position``, ``index``, ``confidence``, ``bbox``), and the ``rle`` of the whole class in the
    image, null if it has no pixel.
    """
    row, position = points.row[chosen], points.position[chosen]
    images = rows.select(["key", "etag", "width", "height"]).take(pa.array(row))
    columns = {
        "position": pa.array(position),
        "index": pa.array(points.index[chosen]),
        "confidence": pa.array(points.confidence[chosen]),
        "bbox": points.boxes.take(pa.array(chosen)),
        "rle": pc.struct_field(masks.of(row, position), "rle"),
    }
    for name, values in columns.items():
        images = images.append_column(name, values)
    return images
