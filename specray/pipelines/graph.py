"""The streaming pass as a graph of Ray Data."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayError

from specray.errors import UserError
from specray.pipelines.cluster import ResourcePlan, configure_data, plan_resources
from specray.pipelines.committing import Commit
from specray.pipelines.config import SegmentConfig
from specray.pipelines.decoding import Decode
from specray.pipelines.error_limit import ErrorLimit
from specray.pipelines.manifest_source import ManifestSource
from specray.pipelines.progress import Progress
from specray.pipelines.segmenting import EngineFactory, Segment
from specray.pipelines.tally import start_tally
from specray.sources import Store
from specray.tables.counts import ShardCounts
from specray.tables.shards import Shard

DECODE_CPUS = 0.5
"""Of a decoding task: it waits for the store half of its time. Not the 1 of the actors, or Ray
Data would fuse both stages and decode on the accelerator's time."""

COMMIT_CPUS = 0
"""Of a committing task: nothing. It has little to compute, and must not stand in a line behind the
decoding of images far ahead: what is not committed is lost when the driver dies."""


@dataclass(frozen=True)
class StreamingPass:
    """Read, decode, segment, commit: the planned shards, in their order."""

    config: SegmentConfig
    source: Store
    output: Store
    shards: list[Shard]
    patch_size: int
    weights_sha256: str | None

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
        plan = plan_resources(ray.cluster_resources(), run.device, run.num_workers)
        batch_size = divisor_up_to(run.batch_size, run.shard_size)
        # no more actors than there are batches: each of them loads the weights
        batches = sum(-(-shard.work // batch_size) for shard in self.shards)
        plan = dataclasses.replace(plan, actors=min(plan.actors, batches))
        tally = start_tally(plan.actors)
        limit = ErrorLimit(run.max_error_rate)
        again = {shard.name for shard in self.shards if shard.again is not None}
        counts = ShardCounts()
        total = sum(shard.work for shard in self.shards)
        with Progress(total, lambda: ray.get(tally.read.remote())):
            try:
                for receipt in self._receipts(plan, batch_size, tally).iter_rows():
                    committed = ShardCounts.from_json(receipt["counts"])
                    counts += committed
                    if receipt["name"] not in again:  # what failed once may well fail again
                        limit.add(committed)
            except RayError as error:
                raise _user_error_in(error) or error from None
        return counts, ray.get(tally.summary.remote(total))

    def _receipts(self, plan: ResourcePlan, batch_size: int, tally: Any) -> Dataset:
        """Places of the stream, decoded batches, segmented batches, shards, a receipt for each."""
        configure_data(DataContext.get_current())
        shard_size = self.config.run.shard_size
        listed = ray.data.read_datasource(ManifestSource(self.output, self.shards, shard_size))
        places = listed.repartition(target_num_rows_per_block=batch_size, strict=True)
        decoded = places.map_batches(
            Decode(self.source, self.config, self.patch_size, tally),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=DECODE_CPUS,
        )
        factory = EngineFactory(self.config, self.weights_sha256, plan.device)
        segmented = decoded.map_batches(
            Segment,
            fn_constructor_args=(factory, tally),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=plan.actors),
            num_cpus=1,
            num_gpus=int(plan.device == "cuda"),
        )
        # Every block holds `batch_size` places, so that a batch of `shard_size` is whole blocks.
        receipts: Dataset = segmented.map_batches(
            Commit(self.output),
            batch_size=shard_size,
            batch_format="pyarrow",
            num_cpus=COMMIT_CPUS,
        )
        return receipts


def _user_error_in(error: RayError) -> UserError | None:
    """What a person can mend, out of what Ray has wrapped around it.

    Of an actor that failed to start Ray hands over the text, not the exception.
    """
    found = re.search(r"specray\.errors\.UserError: (.+)", str(error))
    return UserError(found[1]) if found else None


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
