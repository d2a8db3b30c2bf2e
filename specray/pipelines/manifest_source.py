"""Ray Data's source of the manifest rows of a run."""

from __future__ import annotations

import io
from functools import partial
from itertools import groupby
from operator import attrgetter

import pyarrow as pa
import pyarrow.parquet as pq
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from specray.pipelines.stages import LISTED
from specray.sources import Store
from specray.tables.shards import Shard


class ManifestSource(Datasource):
    """Ray Data's source of the manifest rows of the planned shards, in order."""

    def __init__(self, store: Store, shards: list[Shard]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self._shards = shards

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all rows, at about 200 each."""
        return 200 * sum(shard.rows for shard in self._shards)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """One task per manifest file, for those of its shards that are planned."""
        runs = [list(run) for _, run in groupby(self._shards, key=attrgetter("part"))]
        return [
            ReadTask(
                partial(_read_shards, self._store, run),
                BlockMetadata(
                    num_rows=sum(shard.rows for shard in run),
                    size_bytes=200 * sum(shard.rows for shard in run),
                    input_files=None,
                    exec_stats=None,
                ),
                schema=LISTED,
            )
            for run in runs
        ]


def _read_shards(store: Store, shards: list[Shard]) -> list[pa.Table]:
    file = pq.ParquetFile(io.BytesIO(store.read(shards[0].part).data))
    tables = []
    for shard in shards:
        rows = file.read_row_group(shard.row_group)
        index = pa.array([shard.index] * rows.num_rows, pa.int64())
        tables.append(pa.table([rows["key"], rows["size"], rows["etag"], index], schema=LISTED))
    return [pa.concat_tables(tables)]
