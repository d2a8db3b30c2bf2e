"""An output that follows a segment run: the same images in the same shards, mended when it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from specray.errors import ErrorCode, ImageError, Stage, UserError
from specray.pipelines.derived import DerivedOutput, check_place, finished_run
from specray.sources import LocalStore, entries_of, read_manifest
from specray.tables.commit import commit_shard, read_shard
from specray.tables.reading import read
from specray.tables.rows import Row, error_row
from specray.tables.run import read_run, write_run
from specray.tables.schema import LABELS
from specray.tables.shards import Shard
from tests.tables.report_cases import bad_row, commit, good_row, make_output

RECORD: dict[str, Any] = {
    "job": "label",
    "fingerprint": "1abe1" * 12,
    "finished_manifest": None,
    "configuration": {},
}
SHARD_SIZE = 4

KEYS = [f"{i:03}.png" for i in range(14)]
BAD = (2, 7)


def rows(*bad: int) -> list[Row]:
    return [
        bad_row(key) if i in bad else good_row(key, seed=i, eigenvectors=False)
        for i, key in enumerate(KEYS)
    ]


@pytest.fixture
def segments(tmp_path: Path) -> LocalStore:
    """A finished run of several shards with two error rows."""
    store = LocalStore(str(tmp_path / "segments"))
    make_output(store, rows(*BAD))
    record = read_run(store)
    assert record is not None
    record["manifest"] = commit(store, rows(*BAD), SHARD_SIZE)
    write_run(store, record)
    assert len(finished_run(store).shards) > 2
    return store


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "labels"))


def derived(output: LocalStore, segments: LocalStore) -> DerivedOutput:
    return DerivedOutput(output, dict(RECORD), finished_run(segments), Stage.LABEL)


def label_rows(segments: LocalStore, name: str, fail: str | None = None) -> pa.Table:
    """Rows of a label table, of a shard of segments; one may fail by itself."""
    found = read_shard(segments, name, ["key", "size", "etag", "width", "height", "error"])
    assert found is not None
    made = [
        row
        if row["error"]
        else row | {"segments": [], "points": []}
        if row["key"] != fail
        else row | {"error": error_row(ImageError(ErrorCode.MISSING, Stage.LABEL, "gone"))}
        for row in found.to_pylist()
    ]
    return pa.Table.from_pylist(made, schema=LABELS)


def label(
    made: DerivedOutput, segments: LocalStore, output: LocalStore, fail: str | None = None
) -> list[Shard]:
    """Commit what is missing, all rows of it; returns it."""
    made.begin()
    missing = made.missing(())
    for shard, name in made.with_sources(missing):
        commit_shard(output, shard.name, label_rows(segments, name, fail), LABELS)
    made.finish({})
    return missing


def test_every_shard_has_the_rows_of_its_shard_of_segments(
    segments: LocalStore, output: LocalStore
) -> None:
    made = derived(output, segments)
    assert [shard.rows for shard in label(made, segments, output)] == [
        shard.rows for shard in finished_run(segments).shards
    ]
    for shard, name in made.with_sources(made.shards):
        mine, theirs = (
            read_shard(*place, ["key"]) for place in ((output, shard.name), (segments, name))
        )
        assert mine is not None and mine.equals(theirs)
    assert read(output.uri, columns=["key"])["key"].to_pylist() == KEYS


def test_the_output_has_the_manifest_of_the_run_and_needs_no_other(
    segments: LocalStore, output: LocalStore, tmp_path: Path
) -> None:
    label(derived(output, segments), segments, output)
    (tmp_path / "segments").rename(tmp_path / "elsewhere")
    record = read_run(output)
    assert record is not None
    listed = [e.key for part in read_manifest(output, record["manifest"]) for e in entries_of(part)]
    assert listed == KEYS == read(output.uri)["key"].to_pylist()


def test_what_is_committed_is_not_missing_and_counts(
    segments: LocalStore, output: LocalStore
) -> None:
    label(derived(output, segments), segments, output)
    again = derived(output, segments)
    assert again.missing(()) == []
    counts = again.counts_without([])
    assert (counts.images, counts.errors, counts.inherited) == (len(KEYS), 2, 2)


def test_images_that_segment_has_mended_are_missing_and_nothing_else_is(
    segments: LocalStore, output: LocalStore
) -> None:
    label(derived(output, segments), segments, output, fail=KEYS[5])
    commit(segments, rows(BAD[1]), SHARD_SIZE)  # as `segment --retry` leaves it
    (shard,) = derived(output, segments).missing(())
    assert shard.again == frozenset({KEYS[BAD[0]]})


def test_errors_of_the_job_itself_are_done_again_on_demand_alone(
    segments: LocalStore, output: LocalStore
) -> None:
    label(derived(output, segments), segments, output, fail=KEYS[5])
    again = derived(output, segments)
    assert again.missing(()) == []
    (shard,) = again.missing((ErrorCode.MISSING,))
    assert shard.again == frozenset({KEYS[5]})


def test_new_images_make_their_shards_missing_alone(
    segments: LocalStore, output: LocalStore
) -> None:
    label(derived(output, segments), segments, output)
    record = read_run(segments)
    assert record is not None
    more = [*rows(*BAD), good_row("000a.png", seed=99, eigenvectors=False)]
    write_run(segments, record | {"manifest": commit(segments, more, SHARD_SIZE)})
    missing = derived(output, segments).missing(())
    assert 0 < sum(shard.rows for shard in missing) < len(more)


def test_a_run_with_lost_shards_is_refused_before_anything_is_written(
    segments: LocalStore, output: LocalStore
) -> None:
    segments.delete(finished_run(segments).shards[1].name)
    with pytest.raises(UserError, match=r"1 shards of .* are gone or damaged"):
        derived(output, segments)
    assert list(output.list()) == []


def test_a_manifest_that_is_gone_is_a_refusal_of_one_line(
    segments: LocalStore, output: LocalStore
) -> None:
    run = finished_run(segments)
    assert run.counts
    segments.delete(run.manifest[0])
    with pytest.raises(UserError, match="another run has finished there") as caught:
        DerivedOutput(output, dict(RECORD), run, Stage.LABEL)
    assert "\n" not in str(caught.value)


def test_while_an_increment_runs_the_last_finished_state_is_what_there_is(
    segments: LocalStore, output: LocalStore
) -> None:
    record = read_run(segments)
    assert record is not None
    finished = record["manifest"]
    more = [*rows(*BAD), good_row("000a.png", seed=99, eigenvectors=False)]
    parts = commit(segments, more, SHARD_SIZE)
    changed = {"status": "running", "manifest": parts, "finished_manifest": finished}
    write_run(segments, record | changed)
    label(derived(output, segments), segments, output)
    assert read(output.uri)["key"].to_pylist() == KEYS


def test_what_is_no_finished_segment_run_is_refused(tmp_path: Path, segments: LocalStore) -> None:
    record = read_run(segments)
    assert record is not None
    with pytest.raises(UserError, match="holds no segment run"):
        finished_run(LocalStore(str(tmp_path / "nowhere")))
    for change, message in (
        ({"status": "running"}, "has not finished"),
        ({"job": "label"}, "holds no segment run"),
    ):
        write_run(segments, record | {"finished_manifest": None} | change)
        with pytest.raises(UserError, match=message):
            finished_run(segments)


def test_a_job_writes_neither_into_what_it_reads_nor_over_another(
    tmp_path: Path, segments: LocalStore, output: LocalStore
) -> None:
    inside = LocalStore(str(tmp_path / "segments" / "labels"))
    with pytest.raises(UserError, match="lies inside --input"):
        check_place(inside, "label", {"--input": segments})
    beside = LocalStore(str(tmp_path / "segments-labels"))
    check_place(beside, "label", {"--input": segments})
    write_run(output, RECORD | {"job": "edit"})
    with pytest.raises(UserError, match="output of another job"):
        check_place(output, "label", {"--input": segments})
    check_place(output, "edit", {"--input": segments})


def test_runs_that_differ_in_settings_share_no_shard(
    segments: LocalStore, output: LocalStore
) -> None:
    label(derived(output, segments), segments, output)
    other = dict(RECORD) | {"fingerprint": "0ther" * 12}
    made = DerivedOutput(output, other, finished_run(segments), Stage.LABEL)
    assert len(made.missing(())) == len(made.shards)
