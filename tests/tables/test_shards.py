"""The name of a shard's file says everything that decides its rows, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specray.errors import UserError
from specray.sources import MANIFEST, Entry, LocalStore, cut, read_manifest, write_manifest
from specray.tables.shards import Shard, plan_shards, shard_name

ENTRIES = st.lists(
    st.builds(
        Entry,
        st.text(max_size=3),
        st.none() | st.integers(0, 99),
        st.none() | st.text("0123456789abcdef", max_size=3),
    ),
    max_size=3,
)


def table(entries: list[Entry]) -> pa.Table:
    return pa.Table.from_pylist([vars(entry) for entry in entries], schema=MANIFEST)


def numbered(count: int) -> list[Entry]:
    return [Entry(f"{number:04}", number, f"{number:x}") for number in range(count)]


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path))


@given(ENTRIES, ENTRIES)
def test_two_shards_have_one_name_only_if_their_rows_are_equal(
    one: list[Entry], other: list[Entry]
) -> None:
    same = shard_name(table(one), "f") == shard_name(table(other), "f")
    assert same == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        [Entry("a", 1, "x"), Entry("c", 2, "y")],
        [Entry("a", 1, "x"), Entry("b", 3, "y")],
        [Entry("a", 1, "x"), Entry("b", None, "y")],
        [Entry("a", 1, "x"), Entry("b", 2, "z")],
        [Entry("a", 1, "x"), Entry("b", 2, None)],
        [Entry("a", 1, "x")],
        [Entry("b", 2, "y"), Entry("a", 1, "x")],
        [Entry("a", 1, "xb"), Entry("", 2, "y")],
    ],
)
def test_a_name_follows_from_keys_sizes_etags_and_their_order(changed: list[Entry]) -> None:
    name = shard_name(table([Entry("a", 1, "x"), Entry("b", 2, "y")]), "f")
    assert shard_name(table(changed), "f") != name


def test_a_name_follows_from_the_fingerprint() -> None:
    assert shard_name(table(numbered(2)), "f") != shard_name(table(numbered(2)), "g")


def test_a_name_stays_the_same_for_ever() -> None:
    """Otherwise every output in the world is done again after an update."""
    rows = table([Entry("a/\u00e9.jpg", 1, "x"), Entry("gone", None, None)])
    assert shard_name(rows, "f00d") == "shards/d9f75183264d4c39c92dd365382f8c52.parquet"


def test_a_plan_has_every_entry_in_the_shard_that_cut_gives_it(output: LocalStore) -> None:
    parts = write_manifest(numbered(1000), output, 10)
    assert len(parts) > 1
    plan = plan_shards(output, parts, "f")
    groups = list(read_manifest(output, parts))
    assert [shard.rows for shard in plan] == [len(shard) for shard in cut(numbered(1000), 10)]
    assert [shard.index for shard in plan] == list(range(len(groups)))
    assert [shard.name for shard in plan] == [shard_name(group, "f") for group in groups]
    assert len({(shard.part, shard.row_group) for shard in plan}) == len(plan)


def test_an_equal_shard_keeps_its_name_wherever_it_is_in_the_manifest(output: LocalStore) -> None:
    before = plan_shards(output, write_manifest(numbered(1000), output, 10), "f")
    after = plan_shards(output, write_manifest(numbered(1001)[1:], output, 10), "f")
    kept = {shard.name for shard in before} & {shard.name for shard in after}
    assert len(kept) >= len(before) - 4


def test_an_empty_manifest_has_no_shard(output: LocalStore) -> None:
    assert plan_shards(output, [], "f") == []


def test_a_plan_without_its_manifest_is_a_user_error(output: LocalStore) -> None:
    with pytest.raises(UserError, match=r"gone\.parquet"):
        plan_shards(output, ["manifest/gone.parquet"], "f")


def test_the_work_of_a_shard_is_its_rows_or_those_to_do_again() -> None:
    assert Shard(0, "p", 0, 5, "n").work == 5
    assert Shard(0, "p", 0, 5, "n", frozenset({"a", "b"})).work == 2
