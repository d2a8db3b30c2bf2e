"""One streaming pass over the rows of a label run: sums, samples, medoids and faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from specray.tables.report.classes.points import Ints, Masks, Points, masks_of, points_of
from specray.tables.report.classes.strips import Strips, region_table
from specray.tables.report.faults import Fault, add_faults
from specray.tables.report.histogram import Histogram
from specray.tables.report.sample import Smallest, ranks_of
from specray.tables.rows import Row

_EDGES: Final = np.linspace(0, 1, 101)
"""Of the histogram of confidences of each class."""


@dataclass
class GatheredLabels:
    """What the report says about all rows. Nothing depends on the order of the shards.

    Arrays have a value per class, by rising id.
    """

    ids: Ints
    """(K,) of the classes."""
    sample: Smallest
    """Good rows, drawn by a hash of the key."""
    area: Ints
    """(K,) pixels."""
    regions: Ints
    """(K,) regions, or class masks where single patches were labelled."""
    together: Any
    """(K, K) sparse: images that have both classes; on the diagonal, those that have the class."""
    confidences: list[Histogram]
    medoids: dict[int, Row] = field(default_factory=dict)
    """By position of the class; see `region_table`. One that is not among the images is missing."""
    strips: Strips = field(default_factory=Strips)
    images: int = 0
    errors: int = 0
    pixels: int = 0
    """Of all good images."""
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def holding(self) -> Ints:
        """(K,) images that have the class."""
        return np.asarray(self.together.diagonal(), dtype=np.int64)


def gather_labels(
    tables: Iterable[pa.Table], samples: int, clustering: Mapping[str, Any]
) -> GatheredLabels:
    """Sum up the output of a label run.

    Parameters
    ----------
    tables
        Rows of the label schema, one shard after the other in any order.
    samples
        How many rows to draw for the gallery.
    clustering
        Of the run record.
    """
    classes = sorted(clustering["classes"], key=lambda one: one["id"])
    count = len(classes)
    found = GatheredLabels(
        ids=np.array([one["id"] for one in classes], dtype=np.int64),
        sample=Smallest(samples),
        area=np.zeros(count, dtype=np.int64),
        regions=np.zeros(count, dtype=np.int64),
        together=sparse.csr_array((count, count), dtype=np.int64),
        confidences=[Histogram(_EDGES) for _ in classes],
    )
    medoids = [one["medoid"] for one in classes]
    for table in tables:
        bad = pc.is_valid(table["error"])
        found.images += table.num_rows
        found.errors += add_faults(found.faults, table.filter(bad))
        _add_good(found, table.filter(pc.invert(bad)), medoids)
    return found


def _add_good(found: GatheredLabels, rows: pa.Table, medoids: list[Any]) -> None:
    if not rows.num_rows:
        return
    found.sample.offer(ranks_of(rows), rows)
    sizes = pc.multiply(rows["width"].cast(pa.int64()), rows["height"].cast(pa.int64()))
    found.pixels += pc.sum(sizes).as_py()

    masks = masks_of(rows, found.ids)
    points = points_of(rows, masks, found.ids)
    np.add.at(found.area, masks.position, masks.area)
    found.regions += np.bincount(points.position, minlength=len(found.ids))
    for place in np.unique(points.position).tolist():
        found.confidences[place].add(points.confidence[points.position == place])
    found.together = found.together + _together(masks, rows.num_rows, len(found.ids))
    found.strips.offer(rows, masks, points)
    _add_medoids(found, rows, masks, points, medoids)


def _together(masks: Masks, rows: int, classes: int) -> Any:
    """(K, K) sparse: in how many rows classes are together."""
    ones = np.ones(len(masks.row), dtype=np.int64)
    has = sparse.csr_array((ones, (masks.row, masks.position)), shape=(rows, classes))
    return has.T @ has


def _add_medoids(
    found: GatheredLabels, rows: pa.Table, masks: Masks, points: Points, medoids: list[Any]
) -> None:
    """Keep the medoids that are among the regions of some rows."""
    keys = rows["key"].to_pylist()
    places = {key: row for row, key in enumerate(keys)}
    for position, medoid in enumerate(medoids):
        if medoid is None or medoid["key"] not in places:
            continue
        row = places[medoid["key"]]
        mine = (points.row == row) & (points.position == position)
        if points.are_masks:  # the medoid is a patch, with a box of its own within the mask
            chosen, own = np.flatnonzero(mine), {"bbox": medoid["bbox"], "confidence": None}
        else:
            chosen, own = np.flatnonzero(mine & (points.index == medoid["index"])), {}
        for region in region_table(rows, masks, points, chosen).to_pylist():
            found.medoids[position] = region | own
