"""The stream of the edit job as a graph of Ray Data: read, cut out, commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset, TaskPoolStrategy

from specray.errors import Stage
from specray.pipelines.cluster import data_context, plan_resources
from specray.pipelines.committing import Commit
from specray.pipelines.edit_image import EditImage
from specray.pipelines.edit_places import PLACES, Wanted
from specray.pipelines.ledger import Ledger
from specray.pipelines.progress import Progress
from specray.pipelines.revisiting import Revisit
from specray.pipelines.segmented_source import SegmentedSource
from specray.pipelines.tally import start_tally
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
        """Commit every shard, with a progress line.

        Returns
        -------
        counts
            Of what was committed.
        work
            How it went, see `Tally`.

        Raises
        ------
        UserError
            The cluster has no room, a store does not answer, or too many of the images are
            errors. What was committed stays.
        """
        workers = plan_resources(ray.cluster_resources(), "cpu", self.num_workers).actors
        tally = start_tally(workers)
        ledger = Ledger([shard for shard, _ in self.shards], self.max_error_rate)
        with DataContext.current(data_context()):
            graph = self._graph(workers, tally)
        with Progress(ledger.work, lambda: ray.get(tally.read.remote())):
            ledger.take(graph)
        work = ray.get(tally.summary.remote(ledger.work))
        return ledger.counts, {
            name: work[name] for name in ("images_per_second", "repeated_images")
        }

    def _graph(self, workers: int, tally: Any) -> Dataset:
        """Places of the stream, edited batches, shards, a receipt for each."""
        longest = max(shard.rows for shard, _ in self.shards)
        # Whole batches, so that none spans two shards
        places = -(-longest // BATCH) * BATCH
        source = SegmentedSource(self.wanted, self.shards, places)
        listed = ray.data.read_datasource(source).repartition(
            target_num_rows_per_block=BATCH, strict=True
        )
        edited = listed.map_batches(
            Edit(Revisit(self.images, self.edit, Stage.EDIT, tally)),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=TaskPoolStrategy(workers),
        )
        receipts: Dataset = edited.map_batches(
            Commit(self.edit.output, EDITS),
            batch_size=places,
            batch_format="pyarrow",
            num_cpus=0,
            compute=TaskPoolStrategy(workers),  # else a process for each shard that is ready
        )
        return receipts


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
