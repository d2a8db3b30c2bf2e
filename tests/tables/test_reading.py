"""Readers see the committed rows of one state of the input, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from specray.errors import ErrorCode, UserError
from specray.sources import Entry, LocalStore, Store, open_store, write_manifest
from specray.tables import read, scan
from specray.tables.commit import commit_shard, list_shards
from specray.tables.reading import read_segments
from specray.tables.rows import Row, table_of
from specray.tables.run import write_run
from specray.tables.schema import SEGMENTS
from specray.tables.shards import Shard, plan_shards
from tests.tables.report_cases import FINGERPRINT, bad_row, commit, good_row, run_record

HOSTILE = [
    "../../etc/passwd",
    "/absolute",
    "\t tab and\nnewline\r",
    "<script>alert(1)</script>",
    "=cmd|'/C calc'!A0",
    "a\0b",
    "\u202egpj.exe",
    "nai\u0308ve-na\u00efve-\u65e5\u672c-\U0001f98a",
    "x" * 1024,
    " ",
]


def rows_of(*keys: str) -> list[Row]:
    return [bad_row(key) if key.endswith("!") else good_row(key, seed=len(key)) for key in keys]


def numbered(count: int, start: int = 0) -> list[Row]:
    return [bad_row(f"{i:03}", ErrorCode.EMPTY) for i in range(start, start + count)]


def keys(uri: str) -> list[str]:
    found: list[str] = read(uri, columns=["key"])["key"].to_pylist()
    return found


def plan(output: Store, parts: Sequence[str]) -> list[Shard]:
    return plan_shards(output, parts, FINGERPRINT)


def record(output: Store, manifest: Sequence[str], **changes: Any) -> None:
    write_run(output, run_record(1, manifest=list(manifest), **changes))


def listed(output: Store, rows: Sequence[Row], shard_size: int) -> list[str]:
    return write_manifest([Entry(row["key"], 1, "e") for row in rows], output, shard_size)


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "out"))


def test_a_finished_output_is_read_whole_and_in_the_order_of_its_manifest(
    output: LocalStore,
) -> None:
    rows = rows_of("a", "b!", "\u00e9", "\uffff", "\U0001f600")
    record(output, commit(output, rows, shard_size=2))
    found = read(output.uri)
    assert found.equals(table_of(rows))
    assert found.schema.equals(SEGMENTS)
    assert found.schema.metadata == SEGMENTS.metadata


def test_a_scan_is_one_table_per_shard_of_the_columns_asked_for(output: LocalStore) -> None:
    rows = numbered(50)
    parts = commit(output, rows, shard_size=8)
    record(output, parts)
    tables = list(scan(output.uri, columns=["error", "key"]))
    assert [table.num_rows for table in tables] == [shard.rows for shard in plan(output, parts)]
    assert all(table.column_names == ["error", "key"] for table in tables)
    assert read(output.uri, columns=(name for name in ["key"])).column_names == ["key"]


def test_a_bucket_reads_like_a_folder(
    output: LocalStore, s3_server: str, s3_bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"s3://{s3_bucket}/out"
    bucket = open_store(uri, s3_server)
    rows = rows_of("a", "b!", "c", "d")
    for store in (output, bucket):
        record(store, commit(store, rows, shard_size=2))
        (first, *_) = list_shards(store)
        store.write(f"shards/{'0' * 32}.parquet", store.read(first).data)
    assert read(uri, endpoint=s3_server).equals(read(output.uri))
    bucket.write(first, bucket.read(first).data[:-1])
    assert read(uri, endpoint=s3_server).num_rows < 4
    assert "1 shards are missing or torn" in caplog.text


def test_a_run_over_nothing_and_a_run_that_committed_nothing_read_as_no_rows(
    output: LocalStore,
) -> None:
    record(output, [])
    assert read(output.uri).equals(table_of([]))
    record(output, listed(output, numbered(3), 2), status="running", finished_manifest=None)
    assert read(output.uri).schema.equals(SEGMENTS)
    assert read(output.uri).num_rows == 0


def test_an_output_without_a_run_is_a_user_error_and_has_no_segments(output: LocalStore) -> None:
    commit(output, numbered(3))
    with pytest.raises(UserError, match=r"no run\.json.*run specray segment"):
        read(output.uri)
    assert list(read_segments(output)) == []


def test_a_first_run_under_way_shows_what_it_has_committed(
    output: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    rows = numbered(20)
    parts = commit(output, rows, shard_size=8)
    gone, *rest = plan(output, parts)
    output.delete(gone.name)
    record(output, parts, status="running", finished_manifest=None)
    assert keys(output.uri) == [row["key"] for row in rows[gone.rows :]]
    assert rest
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_an_increment_under_way_shows_the_finished_state(output: LocalStore) -> None:
    before = commit(output, numbered(40), shard_size=8)
    after = commit(output, numbered(40, start=20), shard_size=8)  # all committed, not finished
    record(output, after, status="running", finished_manifest=before)
    assert keys(output.uri) == [row["key"] for row in numbered(40)]
    record(output, after)
    assert keys(output.uri) == [row["key"] for row in numbered(40, start=20)]


def test_shards_missing_from_a_finished_run_are_warned_about_with_the_remedy(
    output: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    rows = numbered(20)
    parts = commit(output, rows, shard_size=8)
    record(output, parts)
    first, *_, last = plan(output, parts)
    output.delete(first.name)
    Path(output.root, last.name).write_bytes(b"torn")
    assert keys(output.uri) == [row["key"] for row in rows[first.rows : 20 - last.rows]]
    assert "2 shards are missing or torn; run the command that made them" in caplog.text


def test_a_shard_with_another_number_of_rows_than_listed_is_never_read(
    output: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    rows = numbered(4)
    parts = commit(output, rows, shard_size=8)
    (shard,) = plan(output, parts)
    record(output, parts)
    for wrong in (rows[:3], [*rows, bad_row("z")]):
        commit_shard(output, shard.name, table_of(wrong))
        assert read(output.uri).num_rows == 0
    assert "1 shards are missing or torn" in caplog.text


def test_superseded_and_foreign_files_are_not_read(output: LocalStore) -> None:
    commit(output, numbered(20), shard_size=8)
    now = commit(output, numbered(5, start=100), shard_size=8)
    (shard,) = plan(output, now)
    valid = output.read(shard.name).data
    for key in [f"shards/{'0' * 32}.parquet", "shards/copy.parquet", "copy.parquet"]:
        output.write(key, valid)
    record(output, now)
    assert keys(output.uri) == [row["key"] for row in numbered(5, start=100)]


def test_rows_of_another_configuration_are_not_read(output: LocalStore) -> None:
    record(output, commit(output, numbered(5)), fingerprint="beef" * 16)
    assert read(output.uri).num_rows == 0


@pytest.mark.parametrize("state", ["finished", "under way"])
def test_a_scan_overtaken_by_the_end_of_a_run_does_not_lose_rows_in_silence(
    output: LocalStore, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    """What it began to read is removed under it."""
    before = commit(output, numbered(40), shard_size=8)
    after = listed(output, numbered(40, start=100), 8)
    if state == "finished":
        record(output, before)
    else:
        record(output, after, status="running", finished_manifest=before)
    tables = scan(output.uri, columns=["key"])
    next(tables)
    record(output, after)
    for shard in plan(output, before):
        output.delete(shard.name)
    try:
        assert sum(table.num_rows for table in tables) == 0
        assert [r for r in caplog.records if r.levelno >= logging.WARNING]
    except UserError:
        pass


def test_hostile_keys_come_back_exactly(output: LocalStore) -> None:
    hostile = sorted(HOSTILE, key=str.encode)
    rows = rows_of(*hostile)
    record(output, commit(output, rows, shard_size=4))
    assert keys(output.uri) == hostile
    assert read(output.uri).equals(table_of(rows))
    root = Path(output.root)
    assert {path.parent for path in root.rglob("*.parquet")} == {root / "shards", root / "manifest"}


def test_a_column_that_does_not_exist_is_named(output: LocalStore) -> None:
    record(output, commit(output, numbered(3)))
    with pytest.raises((UserError, KeyError, ValueError), match="keys"):
        read(output.uri, columns=["keys"])
