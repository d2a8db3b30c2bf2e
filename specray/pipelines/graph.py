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
from specray.pipelines.config import SegmentConfig
from specray.pipelines.manifest_source import ManifestSource
from specray.pipelines.progress import Progress
from specray.pipelines.stages import Commit, Decode, Segment, Tally
from specray.sources import Store
from specray.tables.shards import Shard, ShardCounts

DECODE_CPUS = 0.5
"""Of a decoding task: it waits for the store half of its time. Not the 1 of the actors, or Ray
Data would fuse both stages and decode on the accelerator's time."""


@dataclass(frozen=True)
class StreamingPass:
    """Read, decode, segment, commit: the planned shards, in their order."""

    config: SegmentConfig
    source: Store
    output: Store
    shards: list[Shard]
    patch_size: int
    weights_sha256: str | None
    fingerprint: str

    def run(self) -> tuple[ShardCounts, float | None]:
        """Commit every shard, with a progress line.

        Returns
        -------
        counts
            Of what was committed.
        rate
            Images per second from when all actors were warm; None if the run was too short.

        Raises
        ------
        UserError
            The cluster has no room for the actors and their tasks.
        """
        run = self.config.run
        plan = plan_resources(ray.cluster_resources(), run.device, run.num_workers)
        batch_size = divisor_up_to(run.batch_size, run.shard_size)
        # no more actors than there are batches: each of them loads the weights
        batches = sum(-(-shard.rows // batch_size) for shard in self.shards)
        plan = dataclasses.replace(plan, actors=min(plan.actors, batches))
        tally = Tally.remote(plan.actors)
        receipts = self._receipts(plan, batch_size, tally)
        counts = ShardCounts()
        names = [field.name for field in dataclasses.fields(ShardCounts)]
        total = sum(shard.rows for shard in self.shards)
        with Progress(total, lambda: ray.get(tally.read.remote())):
            try:
                for receipt in receipts.iter_rows():
                    counts += ShardCounts(**{name: receipt[name] for name in names})
            except RayError as error:
                raise _user_error_in(error) or error from None
        return counts, ray.get(tally.rate.remote())

    def _receipts(self, plan: ResourcePlan, batch_size: int, tally: Any) -> Dataset:
        """Manifest rows, decoded batches, segmented batches, whole shards, one receipt each."""
        configure_data(DataContext.get_current())
        listed = ray.data.read_datasource(ManifestSource(self.output, self.shards))
        decoded = _in_blocks_of(batch_size, listed).map_batches(
            Decode(self.source, self.config, self.patch_size),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=DECODE_CPUS,
        )
        segmented = decoded.map_batches(
            Segment,
            fn_constructor_args=(self.config, self.weights_sha256, plan.device, tally),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=plan.actors),
            num_cpus=1,
            num_gpus=int(plan.device == "cuda"),
        )
        receipts: Dataset = _in_blocks_of(self.config.run.shard_size, segmented).map_batches(
            Commit(self.output, self.fingerprint),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
        )
        return receipts


def _user_error_in(error: RayError) -> UserError | None:
    """What a person can mend, out of what Ray has wrapped around it.

    Of an actor that failed to start Ray hands over the text, not the exception.
    """
    found = re.search(r"specray\.errors\.UserError: (.+)", str(error))
    return UserError(found[1]) if found else None


def _in_blocks_of(rows: int, dataset: Dataset) -> Dataset:
    """Cut the ordered stream anew: exactly ``rows`` per block, fewer only in the last."""
    blocks: Dataset = dataset.repartition(target_num_rows_per_block=rows, strict=True)
    return blocks


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
