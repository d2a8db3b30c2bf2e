"""From plan to end: an output loses nothing, keeps nothing it must not, and mends itself."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from specray.errors import ErrorCode, UserError
from specray.pipelines.output import CHANGES, Output
from specray.sources import Entry, LocalStore, Store, list_parts, open_store, write_manifest
from specray.tables import read
from specray.tables.commit import commit_shard, list_shards
from specray.tables.counts import ShardCounts
from specray.tables.rows import Row, table_of
from specray.tables.run import read_run, write_run
from tests.tables.report_cases import FINGERPRINT, bad_row

SHARD_SIZE = 4
FOREIGN = [
    "notes.parquet",
    "shards/mine.parquet",
    "manifest/mine.parquet",
    "report/index.html",
    f"elsewhere/shards/{'a' * 32}.parquet",
]


def entries(*keys: str, etag: str = "e") -> list[Entry]:
    return [Entry(key, 1, etag) for key in sorted(keys)]


def numbered(start: int, stop: int) -> list[Entry]:
    return entries(*(f"{i:03}" for i in range(start, stop)))


def row(entry: Entry) -> Row:
    """Keys that end in 3 are corrupt, in 7 unreadable; the others are empty."""
    code = {"3": ErrorCode.CORRUPT, "7": ErrorCode.UNREADABLE}.get(entry.key[-1], ErrorCode.EMPTY)
    return bad_row(entry.key, code, f"as of {entry.etag}")


def planned(store: Store, listed: Sequence[Entry], fingerprint: str = FINGERPRINT) -> Output:
    """What the segment job does before it begins."""
    earlier = read_run(store)
    before = None
    if earlier is not None:
        finished = earlier["status"] == "finished"
        before = earlier["manifest" if finished else "finished_manifest"]
    record: dict[str, Any] = {
        "status": "running",
        "configuration": {},
        "fingerprint": fingerprint,
        "finished_manifest": before,
        "manifest": write_manifest(listed, store, SHARD_SIZE),
    }
    return Output(store, record)


def work(store: Store, output: Output, listed: Sequence[Entry], codes: Sequence[ErrorCode]) -> None:
    """Commit what is missing, one shard after the other."""
    starts = [sum(shard.rows for shard in output.shards[:i]) for i in range(len(output.shards))]
    for shard in output.missing(codes):
        start = starts[shard.index]
        done = [row(entry) for entry in listed[start : start + shard.rows]]
        commit_shard(store, shard.name, table_of(done))


def run(store: Store, listed: Sequence[Entry], codes: Sequence[ErrorCode] = ()) -> Output:
    """The segment job without the images."""
    output = planned(store, listed)
    output.begin()
    work(store, output, listed, codes)
    output.finish({"images": len(listed)})
    return output


def keys(store: Store) -> list[str]:
    found: list[str] = read(store.uri, columns=["key"])["key"].to_pylist()
    return found


def files(store: Store) -> set[str]:
    root = Path(store.uri)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def changes(store: Store) -> dict[str, str]:
    table = pq.read_table(io.BytesIO(store.read(CHANGES).data))
    return dict(zip(table["key"].to_pylist(), table["change"].to_pylist(), strict=True))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "out"))


def test_a_new_output_has_everything_to_do_and_a_finished_one_nothing(store: LocalStore) -> None:
    output = planned(store, numbered(0, 20))
    assert output.missing([]) == output.shards
    assert output.counts_without(output.shards) == ShardCounts()
    run(store, numbered(0, 20))
    again = planned(store, numbered(0, 20))
    assert again.missing([]) == []
    counts = again.counts_without([])
    assert counts.images == 20
    assert counts.codes == {"empty": 16, "corrupt": 2, "unreadable": 2}


def test_a_resumed_run_misses_exactly_the_shards_that_are_not_whole(store: LocalStore) -> None:
    output = run(store, numbered(0, 40))
    gone, torn, *kept = output.shards
    store.delete(gone.name)
    Path(store.root, torn.name).write_bytes(store.read(torn.name).data[:-1])
    again = planned(store, numbered(0, 40))
    assert again.missing([]) == [gone, torn]
    assert again.counts_without([gone, torn]).images == sum(shard.rows for shard in kept)


@pytest.mark.parametrize(
    ("codes", "again"),
    [
        ([], set()),
        ([ErrorCode.CRASHED], set()),
        ([ErrorCode.CORRUPT], {"003", "013"}),
        ([ErrorCode.CORRUPT, ErrorCode.UNREADABLE], {"003", "013", "007", "017"}),
    ],
)
def test_retried_codes_select_exactly_their_rows(
    store: LocalStore, codes: list[ErrorCode], again: set[str]
) -> None:
    run(store, numbered(0, 20))
    output = planned(store, numbered(0, 20))
    missing = output.missing(codes)
    assert all(shard.again for shard in missing)
    assert [key for shard in missing for key in sorted(shard.again or ())] == sorted(again)
    assert sum(shard.work for shard in missing) == len(again)
    kept = output.counts_without(missing)
    assert kept.images == 20 - sum(shard.rows for shard in missing)


def test_a_missing_shard_is_done_whole_whatever_is_retried(store: LocalStore) -> None:
    first = run(store, numbered(0, 20)).shards[0]
    store.delete(first.name)
    missing = planned(store, numbered(0, 20)).missing(list(ErrorCode))
    assert missing[0].again is None
    assert all(shard.again is not None and shard.work == shard.rows for shard in missing[1:])


def test_beginning_claims_the_output_and_removes_dead_temporaries(store: LocalStore) -> None:
    output = planned(store, numbered(0, 4))
    temporary = Path(store.root, "manifest", ".specray-0.tmp")
    temporary.write_bytes(b"torn")
    output.begin()
    assert not temporary.exists()
    assert (read_run(store) or {})["status"] == "running"


def test_finishing_removes_what_is_superseded_and_nothing_of_others(store: LocalStore) -> None:
    for key in FOREIGN:
        store.write(key, b"not ours")
    before = run(store, numbered(0, 40))
    kept = {shard.name for shard in before.shards}
    Path(store.root, "shards", ".specray-0.tmp").write_bytes(b"torn")
    output = run(store, numbered(20, 60))
    parts = (read_run(store) or {})["manifest"]
    wanted = {shard.name for shard in output.shards}
    assert wanted & kept and kept - wanted
    assert files(store) == {"run.json", CHANGES, *FOREIGN, *parts, *wanted}
    assert keys(store) == [entry.key for entry in numbered(20, 60)]


def test_finishing_publishes_the_result(store: LocalStore) -> None:
    run(store, numbered(0, 2))
    run(store, numbered(0, 3))
    record = read_run(store) or {}
    assert record["status"] == "finished"
    assert record["result"] == {"images": 3}
    assert record["finished_manifest"] is None


@pytest.mark.parametrize("what", ["images", "settings"])
def test_a_run_whose_output_another_took_over_refuses_to_finish_and_removes_nothing(
    store: LocalStore, what: str
) -> None:
    mine = planned(store, numbered(0, 20))
    mine.begin()
    work(store, mine, numbered(0, 20), [])
    images = numbered(10, 30) if what == "images" else numbered(0, 20)
    other = planned(store, images, "beef" * 16 if what == "settings" else FINGERPRINT)
    if what == "settings":
        other.clear()  # --overwrite: without it they are refused
    other.begin()
    work(store, other, images, [])
    before, record = files(store), read_run(store)
    with pytest.raises(UserError, match=r"another run has begun.*--output for each"):
        mine.finish({})
    assert files(store) == before
    assert read_run(store) == record
    other.finish({})
    assert keys(store) == [entry.key for entry in images]


def test_two_copies_of_one_command_both_finish(store: LocalStore) -> None:
    one, two = planned(store, numbered(0, 20)), planned(store, numbered(0, 20))
    one.begin()
    work(store, one, numbered(0, 20), [])
    two.begin()
    one.finish({})
    work(store, two, numbered(0, 20), [])
    two.finish({})
    one.finish({})
    assert keys(store) == [entry.key for entry in numbered(0, 20)]
    assert list_shards(store).keys() == {shard.name for shard in one.shards}


def test_a_zombie_that_commits_after_the_end_is_not_read_and_removed_by_the_next_run(
    store: LocalStore,
) -> None:
    late = run(store, numbered(0, 20)).shards[0]
    data = store.read(late.name).data
    run(store, numbered(10, 30))
    store.write(late.name, data)
    assert keys(store) == [entry.key for entry in numbered(10, 30)]
    run(store, numbered(10, 30))
    assert not store.exists(late.name)


def test_finishing_without_all_shards_is_refused_and_publishes_nothing(store: LocalStore) -> None:
    run(store, numbered(0, 20))
    output = planned(store, numbered(10, 30))
    output.begin()
    work(store, output, numbered(10, 30), [])
    store.delete(output.shards[1].name)
    before = files(store)
    with pytest.raises(UserError, match=r"1 shards have been removed.*same command again"):
        output.finish({})
    assert files(store) == before
    assert (read_run(store) or {})["status"] == "running"
    assert keys(store)[:10] == [entry.key for entry in numbered(0, 10)]


def test_a_run_that_was_planned_before_another_finished_does_not_block_the_output_for_ever(
    store: LocalStore,
) -> None:
    """Listing a bucket takes minutes: time for another run to end and remove the older state."""
    run(store, numbered(0, 20))
    late = planned(store, numbered(0, 30))
    run(store, numbered(0, 40))
    with pytest.raises(UserError, match="same command again"):
        late.begin()
    run(store, numbered(0, 30))
    assert keys(store) == [entry.key for entry in numbered(0, 30)]


def test_a_copy_that_begins_after_the_other_finished_ends_well_too(store: LocalStore) -> None:
    run(store, numbered(0, 20))
    late = planned(store, numbered(0, 40))
    run(store, numbered(0, 40))
    late.begin()
    work(store, late, numbered(0, 40), [])
    assert keys(store) == [entry.key for entry in numbered(0, 40)]
    late.finish({})
    run(store, numbered(0, 40))
    assert keys(store) == [entry.key for entry in numbered(0, 40)]


def test_changes_of_the_input_are_counted_and_listed_by_key(store: LocalStore) -> None:
    first = run(store, numbered(0, 20))
    assert first.changes == {}
    assert not store.exists(CHANGES)
    listed = sorted(
        [*entries("001", etag="new"), *numbered(2, 20), *entries("../<b>\n", "999")],
        key=lambda entry: entry.key,
    )
    output = run(store, listed)
    assert output.changes == {"added": 2, "changed": 1, "removed": 1}
    assert changes(store) == {
        "000": "removed",
        "001": "changed",
        "../<b>\n": "added",
        "999": "added",
    }
    assert list(changes(store)) == sorted(changes(store))
    assert "as of new" in str(read(store.uri)["error"])


def test_changes_are_those_since_the_last_finished_run_not_since_one_that_was_killed(
    store: LocalStore,
) -> None:
    run(store, entries("a", "b"))
    planned(store, entries("a", "b", "c")).begin()
    output = run(store, entries("a", "d"))
    assert output.changes == {"added": 1, "changed": 0, "removed": 1}
    assert changes(store) == {"b": "removed", "d": "added"}


def test_changes_stay_listed_until_the_input_changes_again(store: LocalStore) -> None:
    run(store, entries("a", "b"))
    run(store, entries("a", "c"))
    assert run(store, entries("a", "c")).changes == {}
    assert changes(store) == {"b": "removed", "c": "added"}
    run(store, entries("a", "c", "d"))
    assert changes(store) == {"d": "added"}


def test_a_cleared_output_forgets_what_changed_before(store: LocalStore) -> None:
    run(store, entries("a", "b"))
    run(store, entries("a", "c"))
    planned(store, entries("a", "c")).clear()
    assert not store.exists(CHANGES)


def test_files_of_other_states_are_stale(store: LocalStore) -> None:
    before = {shard.name for shard in run(store, numbered(0, 20)).shards}
    output = planned(store, numbered(0, 4))
    wanted = {shard.name for shard in output.shards}
    assert set(output.stale) == before - wanted
    assert output.stale == sorted(output.stale)


@pytest.mark.parametrize("looked", [True, False])
def test_a_cleared_output_has_everything_to_do_and_keeps_foreign_files(
    store: LocalStore, looked: bool
) -> None:
    for key in FOREIGN:
        store.write(key, b"not ours")
    run(store, numbered(0, 20))
    output = planned(store, numbered(0, 12))
    if looked:
        assert output.stale
    output.clear()
    assert output.stale == []
    assert list_shards(store) == {}
    assert output.missing([]) == output.shards
    assert output.counts_without([]) == ShardCounts()
    assert files(store) >= set(FOREIGN)
    output.begin()
    work(store, output, numbered(0, 12), [])
    output.finish({})
    assert keys(store) == [entry.key for entry in numbered(0, 12)]


class Killed(BaseException):
    """The end of a process, at a moment of our choice."""


@dataclass(frozen=True)
class Mortal(LocalStore):
    """A folder whose process dies at the n-th thing that it changes, before or after it."""

    left: list[int] = field(default_factory=list)

    def _count(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Killed

    def write(self, key: str, data: bytes) -> None:
        self._count()
        super().write(key, data)

    def delete(self, key: str) -> None:
        self._count()
        super().delete(key)


def test_killed_at_any_moment_readers_see_one_state_whole_and_the_same_command_ends_well(
    tmp_path: Path,
) -> None:
    old, new = numbered(0, 20), numbered(8, 28)
    calm = LocalStore(str(tmp_path / "calm"))
    run(calm, old)
    run(calm, new)
    states = [[entry.key for entry in state] for state in (old, new)]
    seen = []
    for moment in range(1000):
        store = LocalStore(str(tmp_path / str(moment)))
        run(store, old)
        try:
            run(Mortal(store.root, [moment]), new)
        except Killed:
            seen.append(states.index(keys(store)))
            run(store, new)
        else:
            break
        assert read(store.uri).equals(read(calm.uri)), moment
        assert files(store) == files(calm), moment
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}


def test_a_bucket_goes_from_state_to_state_like_a_folder(
    store: LocalStore, s3_server: str, s3_bucket: str
) -> None:
    uri = f"s3://{s3_bucket}/out"
    bucket = open_store(uri, s3_server)
    for target in (store, bucket):
        run(target, numbered(0, 20))
        assert run(target, numbered(10, 30)).changes == {"added": 10, "changed": 0, "removed": 10}
    assert read(uri, endpoint=s3_server).equals(read(store.uri))
    assert {entry.key for entry in bucket.list()} == files(store)
    assert list_parts(bucket) == list_parts(store)


def test_a_record_of_another_program_is_left_alone(store: LocalStore) -> None:
    output = planned(store, numbered(0, 4))
    output.begin()
    work(store, output, numbered(0, 4), [])
    store.write("run.json", b"{}")
    with pytest.raises(UserError, match="did not write"):
        output.finish({})
    write_run(store, {"configuration": {}})
    with pytest.raises(UserError, match="another run"):
        output.finish({})
