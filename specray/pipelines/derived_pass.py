"""The stream that makes a row of each row of a segment table: read, work, commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset, TaskPoolStrategy

from specray.pipelines.cluster import data_context
from specray.pipelines.committing import Commit
from specray.pipelines.ledger import Ledger
from specray.pipelines.progress import Progress
from specray.pipelines.resources import plan_resources, usable
from specray.pipelines.segmented_source import Places, SegmentedSource
from specray.pipelines.tally import start_tally
from specray.sources import Store
from specray.tables.counts import ShardCounts
from specray.tables.shards import Shard


@dataclass(frozen=True)
class DerivedPass:
    """The planned shards, in their order.

    Parameters
    ----------
    places
        What to read of the segment table.
    stage
        Gives, for a tally, the work on a block of places: a block of rows, `schema` and more.
    output, schema
        Where the rows go, and what they are.
    batch
        Images that a task works on.
    shards
        Shards to do, each with the name of the shard of segments that has its rows.
    num_workers
        Batches in hand at a time; None takes one per core.
    max_error_rate
        See `ErrorLimit`.
    """

    places: Places
    stage: Callable[[Any], Callable[[pa.Table], pa.Table]]
    output: Store
    schema: pa.Schema
    batch: int
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
        plan = plan_resources(usable(), "cpu", self.num_workers)
        batches = sum(-(-shard.work // self.batch) for shard, _ in self.shards)
        workers = min(plan.actors, batches)  # of more Ray would warn
        tally = start_tally(workers)
        ledger = Ledger([shard for shard, _ in self.shards], self.max_error_rate)
        with DataContext.current(data_context()):
            graph = self._graph(workers, tally)
        with Progress(ledger.work, lambda: ray.get(tally.read.remote())):
            ledger.take(graph)
        return ledger.counts, ray.get(tally.summary.remote(ledger.work))

    def _graph(self, workers: int, tally: Any) -> Dataset:
        """Places of the stream, batches of rows, shards, a receipt for each."""
        longest = max(shard.rows for shard, _ in self.shards)
        count = -(-longest // self.batch) * self.batch  # whole batches: none spans two shards
        source = SegmentedSource(self.places, self.shards, count)
        listed = ray.data.read_datasource(source).repartition(
            target_num_rows_per_block=self.batch, strict=True
        )
        done = listed.map_batches(
            self.stage(tally),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=TaskPoolStrategy(workers),
        )
        receipts: Dataset = done.map_batches(
            Commit(self.output, self.schema),
            batch_size=count,
            batch_format="pyarrow",
            num_cpus=0,
            compute=TaskPoolStrategy(workers),  # else a process for each shard that is ready
        )
        return receipts
