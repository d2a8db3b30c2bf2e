"""The streaming pass as a graph of Ray Data."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy

from specray.pipelines.cluster import data_context, nodes_may_come
from specray.pipelines.committing import Commit
from specray.pipelines.config import SegmentConfig
from specray.pipelines.decoding import Decode
from specray.pipelines.ledger import Ledger
from specray.pipelines.manifest_source import ManifestSource
from specray.pipelines.progress import Progress
from specray.pipelines.resources import ResourcePlan, asking_for_nodes, plan_pass
from specray.pipelines.segmenting import Segment
from specray.pipelines.tally import start_tally
from specray.pipelines.watch import ClusterShrank, watch_cluster
from specray.pipelines.work import Work
from specray.sources import Store
from specray.tables.counts import ShardCounts
from specray.tables.shards import Shard

COMMIT_CPUS = 0
"""Of a committing task: nothing. It has little to compute, and must not stand in a line behind the
decoding of images far ahead: what is not committed is lost when the driver dies."""

COMMITTING = 4
"""Such tasks at a time, at least, where workers are to come: they wait for the store."""


@dataclass(frozen=True)
class StreamingPass:
    """Read, decode, segment, commit: the planned shards, in their order.

    Parameters
    ----------
    config
        Which images, at which size, and how the work is spread.
    source, output
        Where from, where to.
    shards
        To do.
    patch_size
        Of the backbone.
    work
        What is made of the images.
    """

    config: SegmentConfig
    source: Store
    output: Store
    shards: list[Shard]
    patch_size: int
    work: Work

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
            The cluster has no room for the actors and their tasks, a store does not answer, or
            too many of the images are errors. What was committed stays.
        """
        run = self.config.run
        with asking_for_nodes(run) if run.wait and nodes_may_come() else nullcontext():
            return self._run()

    def _run(self) -> tuple[ShardCounts, dict[str, Any]]:
        plan = self._plan(self.shards, fewer=False)
        tally = start_tally(plan.actors)
        ledger = Ledger(self.shards, self.config.run.max_error_rate)
        with Progress(ledger.work, lambda: ray.get(tally.read.remote())):
            while missing := ledger.missing:
                try:
                    ledger.take(self._graph(missing, plan, tally))
                except ClusterShrank:
                    plan = self._plan(missing, fewer=True)
                    print(
                        f"the cluster has become smaller; going on with {plan.actors} workers",
                        file=sys.stderr,
                    )
        return ledger.counts, ray.get(tally.summary.remote(ledger.work))

    def _plan(self, missing: list[Shard], *, fewer: bool) -> ResourcePlan:
        plan = plan_pass(self.config.run, fewer=fewer, waiting=nodes_may_come())
        return dataclasses.replace(plan, actors=min(plan.actors, self._useful(missing)))

    def _most(self, plan: ResourcePlan, shards: list[Shard]) -> int:
        """Actors that there may be once all nodes have come."""
        return self._useful(shards) if nodes_may_come() else plan.actors

    def _useful(self, missing: list[Shard]) -> int:
        """Actors that have something to do: each of them loads the weights."""
        batches = sum(-(-shard.work // self._batch_size) for shard in missing)
        return min(batches, self.config.run.num_workers or batches)

    @property
    def _batch_size(self) -> int:
        return divisor_up_to(self.config.run.batch_size, self.config.run.shard_size)

    def _graph(self, shards: list[Shard], plan: ResourcePlan, tally: Any) -> Dataset:
        """The stages that commit the shards; rows are their receipts."""
        watch = watch_cluster(plan, lambda: ray.get(tally.read.remote()))
        with DataContext.current(data_context(watch)):
            return self._stages(shards, plan, tally)

    def _stages(self, shards: list[Shard], plan: ResourcePlan, tally: Any) -> Dataset:
        """Places of the stream, decoded batches, segmented batches, shards, a receipt for each."""
        shard_size, stages = self.config.run.shard_size, self.config.run.stages
        most = self._most(plan, shards)
        listed = ray.data.read_datasource(ManifestSource(self.output, shards, shard_size))
        places = listed.repartition(target_num_rows_per_block=self._batch_size, strict=True)
        decoded = places.map_batches(
            Decode(self.source, self.config, self.patch_size, tally),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=stages.decode_cpus,
        )
        segmented = decoded.map_batches(
            Segment,
            fn_constructor_args=(self.work.maker(plan.device), tally),
            batch_size=self._batch_size,  # one block; on GPUs Ray takes no other way to say so
            batch_format="pyarrow",
            # what fits now; more as nodes come
            compute=ActorPoolStrategy(min_size=plan.actors, max_size=most),
            num_cpus=1,
            num_gpus=plan.gpus,
        )
        finishing = self.work.finishing(plan.device, tally)
        if finishing is not None:
            segmented = segmented.map_batches(
                finishing, batch_size=None, batch_format="pyarrow", num_cpus=stages.mask_cpus
            )
        # Every block holds `_batch_size` places, so that a batch of `shard_size` is whole blocks.
        receipts: Dataset = segmented.map_batches(
            Commit(self.output, self.work.schema),
            batch_size=shard_size,
            batch_format="pyarrow",
            num_cpus=COMMIT_CPUS,
            # else a process for each shard that is ready
            compute=TaskPoolStrategy(max(plan.actors, min(COMMITTING, most))),
        )
        return receipts


def divisor_up_to(batch_size: int, shard_size: int) -> int:
    """The largest divisor of the shard size up to the batch size.

    With it a batch never spans two shards, and is the same whichever shards are still to do.

    Examples
    --------
    >>> divisor_up_to(16, 256), divisor_up_to(16, 100), divisor_up_to(16, 7)
    (16, 10, 7)
    """
    sizes = range(min(batch_size, shard_size), 0, -1)
    return next(size for size in sizes if shard_size % size == 0)
