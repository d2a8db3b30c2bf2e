"""One streaming pass over the rows: sums, histograms, a sample, the doubtful and the faulty."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specray.tables.report.faults import Fault, add_faults
from specray.tables.report.histogram import Histogram
from specray.tables.report.sample import Rank, Smallest, ranks_of
from specray.tables.rows import Row

DOUBTFUL: Final = 12
"""Images of the lowest object scores that are shown."""

SEVERAL: Final = 10
"""Images with several instances that are in the gallery, if there are so many and it has room."""

PLACES: Final = 32
"""Cells on a side of the map of object boxes."""


def _histograms() -> dict[str, Histogram]:
    unit = np.linspace(0, 1, 1001)
    return {
        "object_score": Histogram(unit),
        "object_share": Histogram(unit),
        "regions": Histogram(np.arange(-0.5, 65)),
        "instances": Histogram(np.arange(-0.5, 65)),
        "instance_score": Histogram(unit),
        "primaps": Histogram(np.arange(-0.5, 65)),
        "megapixels": Histogram(np.logspace(-4, 3, 141)),
        "fiedler": Histogram(np.linspace(0, 2, 1001)),
    }


@dataclass
class Gathered:
    """What the report says about all rows. Nothing depends on the order of the shards."""

    sample: Smallest
    """Good rows, drawn by a hash of the key."""
    several: Smallest
    """Of those with several instances, drawn likewise."""
    images: int = 0
    errors: int = 0
    objects: int = 0
    regions: int = 0
    instances: int = 0
    superpixels: int = 0
    primaps: int = 0
    dense_fallbacks: int = 0
    histograms: dict[str, Histogram] = field(default_factory=_histograms)
    places: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((PLACES, PLACES), dtype=np.int64)
    )
    """Boxes of object 0 over each cell, all images scaled to one square."""
    doubtful: Smallest = field(default_factory=lambda: Smallest(DOUBTFUL))
    """Good rows of the lowest score of object 0."""
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def added(self) -> list[Row]:
        """Rows with several instances that the gallery has on top of those in the sample."""
        keys = {row["key"] for row in self.sample.rows}
        return [row for row in self.several.rows if row["key"] not in keys]

    @property
    def gallery(self) -> list[Row]:
        """The rows to show: those that are added, in the places of the last ones with fewer."""
        added, drawn = self.added, self.sample.rows
        few = [i for i, row in enumerate(drawn) if _count_instances(row) < 2]
        dropped = few[len(few) - len(added) :]
        return added + [row for i, row in enumerate(drawn) if i not in dropped]


def gather(tables: Iterable[pa.Table], samples: int, methods: Collection[str]) -> Gathered:
    """Sum up an output.

    Parameters
    ----------
    tables
        Rows of the segment schema, one shard after the other in any order.
    samples
        How many rows to draw for the gallery.
    methods
        What the run looked for.
    """
    found = Gathered(Smallest(samples), Smallest(min(SEVERAL, samples // 2)))
    for table in tables:
        bad = pc.is_valid(table["error"])
        found.images += table.num_rows
        found.errors += add_faults(found.faults, table.filter(bad))
        _add_good(found, table.filter(pc.invert(bad)), "instances" in methods)
    return found


def _add_good(found: Gathered, rows: pa.Table, with_instances: bool) -> None:
    found.dense_fallbacks += pc.sum(rows["dense_fallback"]).as_py() or 0
    ranks = ranks_of(rows)
    found.sample.offer(ranks, rows)

    size = np.stack([_numbers(rows["width"]), _numbers(rows["height"])])  # (2, rows)
    found.histograms["megapixels"].add(size.prod(axis=0) / 1e6)
    values = rows["eigenvalues"].filter(pc.greater(pc.list_value_length(rows["eigenvalues"]), 1))
    found.histograms["fiedler"].add(_numbers(pc.list_element(values, 1)))

    parents = _numbers(pc.list_parent_indices(rows["segments"])).astype(np.int64)
    segments = pa.array(pc.list_flatten(rows["segments"]).combine_chunks())
    method = pc.struct_field(segments, "method")
    is_region = np.asarray(pc.equal(method, "region"), dtype=np.bool_)
    is_object = np.asarray(pc.equal(method, "object"), dtype=np.bool_)
    found.objects += int(is_object.sum())
    found.regions += int(is_region.sum())
    found.superpixels += pc.sum(pc.equal(method, "superpixel")).as_py() or 0
    is_primap = np.asarray(pc.equal(method, "primap"), dtype=np.bool_)
    found.primaps += int(is_primap.sum())
    for name, of_kind in (("regions", is_region), ("primaps", is_primap)):
        per_image = np.bincount(parents[of_kind], minlength=rows.num_rows)
        found.histograms[name].add(per_image[per_image > 0].astype(np.float64))

    if with_instances:
        is_instance = np.asarray(pc.equal(method, "instance"), dtype=np.bool_)
        scores = _numbers(pc.struct_field(segments, "score"))
        _add_instances(found, rows, ranks, parents[is_instance], scores[is_instance])

    main = is_object & (_numbers(pc.struct_field(segments, "index")) == 0)
    with_object = parents[main]
    best = segments.filter(pa.array(main))
    _add_objects(found, best, size[:, with_object])
    best_scores = pc.struct_field(best, "score").to_pylist()
    doubts = [(score, *ranks[i]) for score, i in zip(best_scores, with_object, strict=True)]
    found.doubtful.offer(doubts, rows.take(pa.array(with_object)))


def _add_instances(
    found: Gathered,
    rows: pa.Table,
    ranks: list[Rank],
    parents: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> None:
    """Add all instances of some rows; `parents` says which of the rows each is of."""
    found.instances += len(scores)
    found.histograms["instance_score"].add(scores)
    per_image = np.bincount(parents, minlength=rows.num_rows)
    found.histograms["instances"].add(per_image.astype(np.float64))
    several = np.flatnonzero(per_image > 1)
    found.several.offer([ranks[i] for i in several], rows.take(pa.array(several)))


def _add_objects(found: Gathered, objects: pa.Array, size: NDArray[np.float64]) -> None:
    """Add the object 0 of each image; `size` is (2, objects): width and height in pixels."""
    found.histograms["object_score"].add(_numbers(pc.struct_field(objects, "score")))
    area = _numbers(pc.struct_field(objects, "area"))
    found.histograms["object_share"].add(area / size.prod(axis=0))
    boxes = _numbers(pc.list_flatten(pc.struct_field(objects, "bbox"))).reshape(-1, 2, 2)
    corners = np.stack([boxes[:, 0], boxes.sum(axis=1)])  # (2, objects, xy)
    cells = np.clip(np.rint(corners / size.T * PLACES), 0, PLACES).astype(np.int64)
    # every box adds 1 to a rectangle: four corners of a table of differences, summed up once
    change = np.zeros((PLACES + 1, PLACES + 1), dtype=np.int64)
    for x, y, sign in ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1)):
        np.add.at(change, (cells[y, :, 1], cells[x, :, 0]), sign)
    found.places += change.cumsum(axis=0).cumsum(axis=1)[:PLACES, :PLACES]


def _count_instances(row: Row) -> int:
    return sum(segment["method"] == "instance" for segment in row["segments"])


def _numbers(column: Any) -> NDArray[np.float64]:
    """A column or array of numbers as float64, null as NaN."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
