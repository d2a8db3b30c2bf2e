"""The stream of the label job as a graph of Ray Data: read, label, commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import ray

from specray.errors import Stage
from specray.pipelines.derived_pass import DerivedPass
from specray.pipelines.labels.labeller import Labeller, RefineMap
from specray.pipelines.labels.places import PLACES, LabelPlaces
from specray.pipelines.revisiting import Revisit
from specray.sources import Store
from specray.tables.counts import ShardCounts
from specray.tables.rows import Row, segment_row
from specray.tables.schema import LABELS
from specray.tables.shards import Shard

BATCH: Final = 16
"""Images that a task labels where it refines them: about a second of work."""

UNREFINED_BATCH: Final = 256
"""Where it does not: some milliseconds each, and a task costs Ray's driver 25 and 9 KB."""

LABELLED: Final = pa.schema([*list(PLACES)[:2], *(f.with_nullable(True) for f in LABELS)])


@dataclass(frozen=True)
class Label:
    """A block of `PLACES` to one of `LABELLED`.

    Parameters
    ----------
    labeller_ref
        Ray's reference to the `Labeller`: the codebook may be large.
    revisit
        Refines the maps; None where they are not.
    tally
        See `start_tally`.
    """

    labeller_ref: Any
    revisit: Revisit | None
    tally: Any

    def __call__(self, places: pa.Table) -> pa.Table:
        """Label what has no error; errors and unused places pass through."""
        good = pc.and_(pc.is_valid(places["key"]), pc.is_null(places["error"]))
        rows: list[Row] = places.drop_columns(["segments", "features"]).to_pylist()
        labeller: Labeller = ray.get(self.labeller_ref)
        found = iter(labeller(places.filter(good)))
        rows = [next(found) if ok else row for row, ok in zip(rows, good.to_pylist(), strict=True)]
        if self.revisit is None:
            images = sum(row["key"] is not None for row in rows)
            self.tally.add.remote(images, sum(row["error"] is not None for row in rows), 0)
        else:
            fine = self.revisit(rows)
            rows = [_found(row | fine.get(row["key"], {})) for row in rows]
        return pa.Table.from_pylist([_as_stored(row) for row in rows], schema=LABELLED)


def _found(row: Row) -> Row:
    """A row with its refined map; an error has none, refined or not."""
    return row if row["error"] is None else row | {"segments": None, "points": None}


def _as_stored(row: Row) -> Row:
    stored = {name: row.get(name) for name in LABELLED.names}
    if stored["segments"] is not None:
        stored["segments"] = [segment_row(segment) for segment in stored["segments"]]
    return stored


@dataclass(frozen=True)
class LabelPass:
    """Read, label, commit: the planned shards, in their order.

    Parameters
    ----------
    places
        The segment table.
    labeller
        Labels an image.
    refine
        Refines its map; None where it is not.
    images
        Where the photographs are that this needs.
    output
        Where to.
    shards
        Shards to do, each with the name of the shard of segments that has its rows.
    num_workers
        Batches in hand at a time; None takes one per core.
    max_error_rate
        See `ErrorLimit`.
    """

    places: LabelPlaces
    labeller: Labeller
    refine: RefineMap | None
    images: Store
    output: Store
    shards: Sequence[tuple[Shard, str]]
    num_workers: int | None
    max_error_rate: float

    def run(self) -> tuple[ShardCounts, dict[str, Any]]:
        """Commit every shard; returns counts and how it went, as `DerivedPass.run`."""
        longest = max(shard.rows for shard, _ in self.shards)
        counts, work = DerivedPass(
            self.places,
            self._stage,
            self.output,
            LABELS,
            BATCH if self.refine is not None else min(UNREFINED_BATCH, longest),
            self.shards,
            self.num_workers,
            self.max_error_rate,
        ).run()
        return counts, {"images_per_second": work["images_per_second"]}

    def _stage(self, tally: Any) -> Label:
        revisit = None
        if self.refine is not None:
            revisit = Revisit(self.images, self.refine, Stage.LABEL, tally)
        return Label(ray.put(self.labeller), revisit, tally)
