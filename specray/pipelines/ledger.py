"""What a pass has committed: the receipts of its shards, added up as they come."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

from ray.data import Dataset

from specray.pipelines.error_limit import ErrorLimit
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.meters import CommitMeters
from specray.tables.counts import ShardCounts
from specray.tables.shards import Shard


class Ledger:
    """The shards of a pass, and which of them are committed.

    Parameters
    ----------
    shards
        To do, in their order.
    max_error_rate
        See `ErrorLimit`.
    """

    def __init__(self, shards: Sequence[Shard], max_error_rate: float) -> None:
        self._shards = shards
        self._again = {shard.name for shard in shards if shard.again is not None}
        self._limit = ErrorLimit(max_error_rate)
        self._committed: dict[str, ShardCounts] = {}

    @property
    def work(self) -> int:
        """Images of all shards that are to do."""
        return sum(shard.work for shard in self._shards)

    @property
    def missing(self) -> list[Shard]:
        """Shards that are not committed yet."""
        return [shard for shard in self._shards if shard.name not in self._committed]

    @property
    def counts(self) -> ShardCounts:
        """Of all that was committed."""
        return sum(self._committed.values(), ShardCounts())

    def take(self, graph: Dataset) -> None:
        """Run a graph whose rows are the receipts of `Commit`.

        Raises
        ------
        UserError
            Of a worker, or too many of the images are errors. What was committed stays, here too.
        """
        meters = CommitMeters()
        with closing(_receipts(graph)) as receipts:  # what runs ends with it
            for name, counts, done in receipts:
                self._committed[name] = counts
                meters.add(done)
                if name not in self._again:  # what failed once may well fail again
                    self._limit.add(counts)


def _receipts(graph: Dataset) -> Generator[tuple[str, ShardCounts, ShardCounts]]:
    """Of each shard its name, what its file holds, and what of that was done now."""
    with faults_as_user_errors():
        for receipt in graph.iter_rows():
            counts, done = (ShardCounts.from_json(receipt[name]) for name in ("counts", "done"))
            yield receipt["name"], counts, done
