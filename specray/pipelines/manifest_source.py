"""Ray Data's source of the places of a run's stream."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from specray.pipelines.blocks import LISTED
from specray.sources import Store, open_part
from specray.tables.shards import Shard

_ROW_BYTES = 200
"""About what a place takes."""


class ManifestSource(Datasource):
    """The places of the planned shards, `shard_size` for each, in order."""

    def __init__(self, store: Store, shards: list[Shard], shard_size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self._shards = shards
        self._shard_size = shard_size

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all rows."""
        return _ROW_BYTES * self._shard_size * len(self._shards)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """One task per manifest file, for those of its shards that are planned."""
        runs = [list(run) for _, run in groupby(self._shards, key=attrgetter("part"))]
        return [
            ReadTask(
                partial(_read, self._store, run, self._shard_size),
                BlockMetadata(
                    num_rows=self._shard_size * len(run),
                    size_bytes=_ROW_BYTES * self._shard_size * len(run),
                    input_files=None,
                    exec_stats=None,
                ),
                schema=LISTED,
            )
            for run in runs
        ]


def _read(store: Store, shards: list[Shard], shard_size: int) -> Iterator[pa.Table]:
    file = open_part(store, shards[0].part)
    yield pa.concat_tables(
        _places(shard, file.read_row_group(shard.row_group)["key"], shard_size) for shard in shards
    )


def _places(shard: Shard, keys: pa.ChunkedArray, shard_size: int) -> pa.Table:
    if shard.again is not None:
        keys = keys.filter(pc.is_in(keys, pa.array(shard.again, pa.string())))
    unused = pa.nulls(shard_size - len(keys), pa.string())
    columns = {
        "shard": pa.repeat(shard.name, shard_size),
        "shard_rows": pa.repeat(pa.scalar(shard.rows, pa.int32()), shard_size),
        "key": pa.chunked_array([*keys.chunks, unused], pa.string()),
    }
    return pa.table(columns, schema=LISTED)
