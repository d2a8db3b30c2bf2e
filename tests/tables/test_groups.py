"""Groups of rows: what the whole shard says, and no more of it than is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from specray.errors import UserError
from specray.sources import LocalStore, Store, open_store
from specray.tables.commit import commit_shard, read_shard
from specray.tables.groups import ShardGroups
from specray.tables.rows import table_of
from tests.tables.report_cases import good_row

NAME = f"shards/{'0' * 32}.parquet"
COLUMNS = ["key", "features", "segments.list.element.method"]


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A place with a shard of several groups of rows."""
    store: Store = LocalStore(str(tmp_path))
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        store = open_store(f"s3://{request.getfixturevalue('s3_bucket')}/out", server)
    features = np.ones(4_000_000, np.float16)
    rows = [good_row(f"{i}") | {"features": i * features} for i in range(7)]
    commit_shard(store, NAME, table_of(rows))
    return store


def test_groups_are_the_rows_of_the_shard(store: Store) -> None:
    shard = ShardGroups(store, NAME)
    assert len(shard.rows) > 1 and sum(shard.rows) == 7
    parts = [shard.read(group, COLUMNS) for group in reversed(range(len(shard.rows)))]
    whole = read_shard(store, NAME, COLUMNS)
    assert whole is not None
    found = pa.concat_tables(parts[::-1]).replace_schema_metadata(None)
    assert found.equals(whole.replace_schema_metadata(None))


class Counting(LocalStore):
    """A folder that knows how much was read of it."""

    taken: list[int] = []  # noqa: RUF012  # a store is a frozen value

    def part(self, key: str, start: int, size: int) -> bytes:
        data = super().part(key, start, size)
        self.taken.append(len(data))
        return data


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    store = Counting(str(tmp_path))
    features = np.ones(4_000_000, np.float16)
    commit_shard(store, NAME, table_of([good_row(f"{i}") | {"features": features} for i in "abc"]))
    shard = ShardGroups(store, NAME)
    shard.read(0, ["key", "error"])
    assert sum(store.taken) < 10_000
    shard.read(1, ["features"])
    assert 8_000_000 <= sum(store.taken) < 9_000_000


def test_a_shard_that_is_gone_or_damaged_is_said_so(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    with pytest.raises(UserError, match="gone or damaged"):
        ShardGroups(store, NAME)
    commit_shard(store, NAME, table_of([good_row("a")]))
    shard = ShardGroups(store, NAME)
    with pytest.raises(UserError, match="an older specray"):
        shard.read(0, ["key", "something"])
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="gone or damaged"):
        ShardGroups(store, NAME)
