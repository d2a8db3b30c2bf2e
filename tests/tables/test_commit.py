"""A shard is committed if and only if its whole file is there under its own name."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specray.errors import ErrorCode, ImageError, Stage, UserError
from specray.sources import Blob, Entry, LocalStore, Store, open_store, write_manifest
from specray.tables import commit as module
from specray.tables.commit import (
    commit_shard,
    committed_shards,
    drop,
    keys_with,
    list_shards,
    read_shard,
)
from specray.tables.counts import ShardCounts
from specray.tables.rows import Row, table_of
from specray.tables.schema import SEGMENTS
from specray.tables.shards import Shard, plan_shards
from tests.tables.report_cases import FINGERPRINT, bad_row, good_row

ROWS = [good_row("a", seed=1), bad_row("b", ErrorCode.EMPTY), good_row("c", seed=2)]


def plan(output: Store, rows: Sequence[Row], shard_size: int) -> list[Shard]:
    entries = [Entry(row["key"], 1, "e") for row in rows]
    return plan_shards(output, write_manifest(entries, output, shard_size), FINGERPRINT)


@pytest.fixture(params=["local", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(str(tmp_path / "out"))
    bucket = request.getfixturevalue("s3_bucket")
    return open_store(f"s3://{bucket}/out", request.getfixturevalue("s3_server"))


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "out"))


def test_what_is_committed_is_found_with_its_counts_and_read_as_it_was(output: Store) -> None:
    first, second = plan(output, ROWS, 2)
    counts = commit_shard(output, first.name, table_of(ROWS[: first.rows]))
    assert committed_shards(output, [first, second]) == {first.name: counts}
    assert counts.bytes == len(output.read(first.name).data) == list_shards(output)[first.name]
    found = read_shard(output, first.name)
    assert found is not None
    assert found.equals(table_of(ROWS[: first.rows]))
    assert found.schema.equals(SEGMENTS)
    assert found.schema.metadata == SEGMENTS.metadata
    assert read_shard(output, second.name) is None


def test_the_same_rows_make_the_same_bytes(local: LocalStore) -> None:
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(ROWS))
    before = local.read(shard.name).data
    pieces = pa.concat_tables([table_of([row]) for row in ROWS])
    commit_shard(local, shard.name, pieces)
    assert local.read(shard.name).data == before


def foreign(data: bytes) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(data)).replace_schema_metadata(None), buffer)
    return buffer.getvalue()


def under_another_name(data: bytes) -> bytes:
    return data.replace(b"shards/", b"shardz/")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "of other bytes": lambda data: b"PAR1" + bytes(500) + b"PAR1",
    "of a footer that lies about its length": lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1",
    "a foreign Parquet file": foreign,
    "a shard of another name": under_another_name,
    "without its first byte": lambda data: data[1:],
    "without its first pages": lambda data: data[len(data) // 3 :],
    "without a part in the middle": lambda data: data[:100] + data[200:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_is_no_shard_if_it_is(output: Store, damage: str) -> None:
    (shard,) = plan(output, ROWS, 3)
    commit_shard(output, shard.name, table_of(ROWS))
    output.write(shard.name, DAMAGE[damage](output.read(shard.name).data))
    assert committed_shards(output, [shard]) == {}
    assert read_shard(output, shard.name) is None
    assert list_shards(output).keys() == {shard.name}


def test_a_file_torn_anywhere_is_no_shard(local: LocalStore) -> None:
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(ROWS))
    whole = local.read(shard.name).data
    ends = {*range(20), *range(len(whole) - 80, len(whole))}
    ends |= set(random.Random(0).sample(range(len(whole)), 150))
    path = Path(local.root, shard.name)
    for end in sorted(ends):
        path.write_bytes(whole[:end])
        assert committed_shards(local, [shard]) == {}, end
        assert read_shard(local, shard.name) is None, end
    path.write_bytes(whole)
    assert committed_shards(local, [shard]).keys() == {shard.name}


def test_a_valid_shard_under_the_name_of_another_is_none(output: Store) -> None:
    first, second = plan(output, [good_row(key) for key in "abcd"], 2)[:2]
    commit_shard(output, first.name, table_of(ROWS[: first.rows]))
    output.write(second.name, output.read(first.name).data)
    assert committed_shards(output, [first, second]).keys() == {first.name}
    assert read_shard(output, second.name) is None


@pytest.mark.parametrize("rows", [ROWS[:2], [], [*ROWS, bad_row("d")]])
def test_a_file_with_another_number_of_rows_is_not_committed(
    local: LocalStore, rows: list[Row]
) -> None:
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(rows))
    assert committed_shards(local, [shard]) == {}


def test_foreign_files_beside_the_shards_are_neither_listed_nor_read(local: LocalStore) -> None:
    (shard,) = plan(local, ROWS, 3)
    name = Path(shard.name).name
    for key in ["a.parquet", f"{name}.tmp", f"x{name}", f"sub/{name}", name.upper()]:
        local.write(f"shards/{key}", b"torn")
    local.write(name, b"torn")
    assert list_shards(local) == {}
    assert committed_shards(local, [shard]) == {}


def test_a_damaged_page_is_refused_in_one_line_that_says_what_to_do(local: LocalStore) -> None:
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(ROWS))
    whole = local.read(shard.name).data
    column = pq.read_metadata(io.BytesIO(whole)).row_group(0).column(0)
    at = column.data_page_offset + column.total_compressed_size // 2
    for flipped in {column.data_page_offset - 1, at}:
        damaged = bytearray(whole)
        damaged[flipped] ^= 16
        local.write(shard.name, bytes(damaged))
        assert committed_shards(local, [shard]).keys() == {shard.name}  # the footer is good
        with pytest.raises(UserError, match=f"{shard.name}.*delete it and run") as caught:
            read_shard(local, shard.name)
        assert "\n" not in str(caught.value)


FLIPS = """
import random, sys
from specray.errors import UserError
from specray.sources import LocalStore
from specray.tables.commit import read_shard

store, name = LocalStore(sys.argv[1]), sys.argv[2]
whole, good = store.read(name).data, read_shard(store, name)
rng = random.Random(0)
for _ in range(400):
    at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
    damaged = bytearray(whole)
    damaged[at] ^= bit
    with open(f"{sys.argv[1]}/{name}", "wb") as file:
        file.write(damaged)
    print(f"byte {at} of {len(whole)}", flush=True)
    try:
        rows = read_shard(store, name)
    except UserError as error:
        assert "\\n" not in str(error), f"several lines: {error}"
    else:
        assert rows is None or rows.equals(good), "other rows than were committed"
"""


def test_a_bit_flipped_anywhere_gives_the_same_rows_or_none_or_a_refusal_of_one_line(
    local: LocalStore,
) -> None:
    """In a process of its own: a damaged footer may end it."""
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(ROWS))
    command = [sys.executable, "-c", FLIPS, local.root, shard.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout[-40:], done.stderr[-400:])


@pytest.mark.parametrize("tail", [16, 100, 4096])
def test_a_footer_longer_than_the_first_request_is_read_whole(
    output: Store, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:
    (shard,) = plan(output, ROWS, 3)
    counts = commit_shard(output, shard.name, table_of(ROWS))
    monkeypatch.setattr(module, "_TAIL", tail)
    assert committed_shards(output, [shard]) == {shard.name: counts}


def test_rows_of_keys_as_long_as_a_store_allows_are_committed(local: LocalStore) -> None:
    rows = [good_row(f"{i:03}" + "\u00e9" * 510) for i in range(200)]
    (shard,) = plan(local, rows, 200)
    counts = commit_shard(local, shard.name, table_of(rows))
    assert committed_shards(local, [shard]) == {shard.name: counts}
    found = read_shard(local, shard.name, ["key"])
    assert found is not None
    assert found["key"].to_pylist() == [row["key"] for row in rows]


def test_columns_come_in_the_order_asked_for(local: LocalStore) -> None:
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(ROWS))
    found = read_shard(local, shard.name, ["error", "key"])
    assert found is not None
    assert found.equals(table_of(ROWS).select(["error", "key"]))


def test_a_column_that_does_not_exist_is_not_called_damage(local: LocalStore) -> None:
    """Whoever misspells a column must not be told to delete a good file."""
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(ROWS))
    with pytest.raises(Exception, match="keys") as caught:
        read_shard(local, shard.name, ["keys"])
    assert "damaged" not in str(caught.value)


class Unreadable(LocalStore):
    """A folder whose disk has gone bad."""

    def read(self, key: str) -> Blob:
        raise ImageError(ErrorCode.UNREADABLE, Stage.READ, f"{key!r}: Input/output error")

    def tail(self, key: str, size: int) -> bytes:
        raise ImageError(ErrorCode.UNREADABLE, Stage.READ, f"{key!r}: Input/output error")


def test_a_store_that_does_not_deliver_is_no_missing_shard(local: LocalStore) -> None:
    """Else a run would do again what is there, and a reader would leave it out."""
    (shard,) = plan(local, ROWS, 3)
    commit_shard(local, shard.name, table_of(ROWS))
    with pytest.raises(UserError, match="Input/output error"):
        read_shard(Unreadable(local.root), shard.name)
    with pytest.raises(UserError, match="Input/output error"):
        committed_shards(Unreadable(local.root), [shard])


def test_keys_of_error_rows_are_selected_by_their_codes() -> None:
    rows = table_of([*ROWS, bad_row("d", ErrorCode.UNREADABLE), bad_row("e", ErrorCode.EMPTY)])
    assert keys_with(rows, [ErrorCode.EMPTY]) == {"b", "e"}
    assert keys_with(rows, [ErrorCode.EMPTY, ErrorCode.UNREADABLE]) == {"b", "d", "e"}
    assert keys_with(rows, [ErrorCode.CRASHED]) == keys_with(rows, []) == set()


def test_dropped_files_are_gone_and_those_already_gone_are_no_error(output: Store) -> None:
    (shard,) = plan(output, ROWS, 3)
    counts: ShardCounts = commit_shard(output, shard.name, table_of(ROWS))
    assert counts.images == 3
    drop(output, [shard.name, "shards/gone.parquet"])
    assert list_shards(output) == {}
