"""The stream of the edit job as a graph of Ray Data: read, cut out, commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from specray.errors import Stage
from specray.pipelines.derived_pass import DerivedPass
from specray.pipelines.edit_image import EditImage
from specray.pipelines.edit_places import PLACES, Wanted
from specray.pipelines.revisiting import Revisit
from specray.sources import Store
from specray.tables.counts import ShardCounts
from specray.tables.schema import EDITS
from specray.tables.shards import Shard

BATCH: Final = 4
"""Images that a task edits: seconds of work, which is what dies with it."""

EDITED: Final = pa.schema([*list(PLACES)[:2], *(f.with_nullable(True) for f in EDITS)])


@dataclass(frozen=True)
class EditPass:
    """Read, cut out, commit: the planned shards, in their order.

    Parameters
    ----------
    wanted
        The segment table.
    images
        Where the photographs are.
    edit
        What is done to each image, and where the output is.
    shards
        Shards to do, each with the name of the shard of segments that has its rows.
    num_workers
        Images in hand at a time; None takes one per core.
    max_error_rate
        See `ErrorLimit`.
    """

    wanted: Wanted
    images: Store
    edit: EditImage
    shards: Sequence[tuple[Shard, str]]
    num_workers: int | None
    max_error_rate: float

    def run(self) -> tuple[ShardCounts, dict[str, Any]]:
        """Commit every shard; returns counts and how it went, as `DerivedPass.run`."""
        counts, work = DerivedPass(
            self.wanted,
            lambda tally: Edit(Revisit(self.images, self.edit, Stage.EDIT, tally)),
            self.edit.output,
            EDITS,
            BATCH,
            self.shards,
            self.num_workers,
            self.max_error_rate,
        ).run()
        return counts, {name: work[name] for name in ("images_per_second", "repeated_images")}


@dataclass(frozen=True)
class Edit:
    """A block of `PLACES` to one of `EDITED`; the pictures go to the output."""

    revisit: Revisit

    def __call__(self, places: pa.Table) -> pa.Table:
        """Edit what has no error yet; errors and unused places pass through."""
        rows = places.to_pylist()
        found = self.revisit(rows)
        kept = [row | found.get(row["key"], {}) for row in rows]
        return pa.Table.from_pylist(
            [{name: row.get(name) for name in EDITED.names} for row in kept], schema=EDITED
        )
