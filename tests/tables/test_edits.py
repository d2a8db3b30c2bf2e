"""The table of edits is committed, counted and read like that of segments."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from specray.sources import open_store
from specray.tables.commit import commit_shard, read_shard
from specray.tables.counts import ShardCounts, count_rows
from specray.tables.schema import EDITS

NAME = f"shards/{'0' * 32}.parquet"

ROWS = [
    {"key": "a", "file": "cutouts/a.png", "file_size": 10, "matting_fallback": False},
    {"key": "b", "file": "cutouts/b.png", "file_size": 20, "matting_fallback": True},
    {"key": "c", "error": {"code": "no_object", "stage": "edit", "message": ""}},
    {"key": "d", "error": {"code": "corrupt", "stage": "decode", "message": ""}},
    {"key": "e", "error": {"code": "corrupt", "stage": "edit", "message": ""}},
]


def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS, schema=EDITS)


def test_pictures_fallbacks_and_errors_of_either_table_are_counted() -> None:
    assert count_rows(table()) == ShardCounts(
        images=5,
        codes={"no_object": 1, "corrupt": 2},
        matting_fallbacks=1,
        inherited=1,
        file_bytes=30,
    )


def test_counts_of_edits_add_up_and_survive_their_text() -> None:
    counts = count_rows(table())
    assert ShardCounts.from_json(counts.to_json()) == counts
    assert (counts + counts).file_bytes == 60
    assert (counts + counts).inherited == 2


def test_a_shard_of_edits_is_read_as_it_was_committed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    commit_shard(store, NAME, table(), EDITS)
    rows = read_shard(store, NAME)
    assert rows is not None
    assert rows.equals(table(), check_metadata=True)
