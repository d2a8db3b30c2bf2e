"""Ray Data's source of the places of a stream that reads a segment table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from specray.errors import UserError
from specray.sources import Store
from specray.tables.commit import read_shard
from specray.tables.shards import Shard


class Places(Protocol):
    """What a job takes of the rows of a segment table."""

    @property
    def store(self) -> Store:
        """The output of the segment job."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """Of the segment table, ``key`` among them."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """Of a place of the stream: first ``shard``, ``shard_rows`` and ``key``."""
        ...

    @property
    def row_bytes(self) -> int:
        """About what a place takes."""
        ...

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Rows of the columns to as many places, without ``shard`` and ``shard_rows``."""
        ...


class SegmentedSource(Datasource):
    """The places of the planned shards, `count` for each, in order.

    Parameters
    ----------
    places
        What to read.
    shards
        Shards to do, each with the name of the shard of segments that has its rows.
    count
        At least as many as any shard has rows.
    """

    def __init__(self, places: Places, shards: Sequence[tuple[Shard, str]], count: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._places = places
        self._shards = shards
        self._count = count

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all rows."""
        return self._places.row_bytes * self._count * len(self._shards)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """One task per shard."""
        metadata = BlockMetadata(
            num_rows=self._count,
            size_bytes=self._places.row_bytes * self._count,
            input_files=None,
            exec_stats=None,
        )
        schema = self._places.schema
        return [
            ReadTask(
                partial(_read, self._places, shard, name, self._count), metadata, schema=schema
            )
            for shard, name in self._shards
        ]


def _read(places: Places, shard: Shard, name: str, count: int) -> Iterator[pa.Table]:
    rows = read_shard(places.store, name, places.columns)
    if rows is None:
        raise UserError(
            f"{name} in {places.store.uri} is gone; run the same specray segment command again,"
            " then this one"
        )
    if shard.again is not None:
        rows = rows.filter(pc.is_in(rows["key"], pa.array(shard.again, pa.string())))
    found, schema = places(rows), places.schema
    columns = {
        "shard": pa.repeat(shard.name, count),
        "shard_rows": pa.repeat(pa.scalar(shard.rows, pa.int32()), count),
    }
    for field in list(schema)[len(columns) :]:
        unused = pa.nulls(count - found.num_rows, field.type)
        columns[field.name] = pa.chunked_array([*found[field.name].chunks, unused], field.type)
    yield pa.table(columns, schema=schema)
