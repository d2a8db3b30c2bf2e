"""Runs over an input that changes: what did not change is not done again, what is gone is gone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from specray.pipelines import ledger
from specray.tables import read
from specray.tables.counts import ShardCounts
from tests.faults.command import COUNT, assert_same, in_process, on_our_ray, segment
from tests.pipelines.photographs import encode, photograph

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

EXPECTED_CHANGES = {"a/047.jpg": "added", "a/016.jpg": "changed", "b/021.jpg": "removed"}


def change(folder: Path) -> None:
    """One key more, one other, one less; the same every time, to the time stamps."""
    for name, seed in (("a/047.jpg", 100), ("a/016.jpg", 101)):
        (folder / name).write_bytes(encode(photograph(seed), "JPEG"))
        os.utime(folder / name, (seed, seed))
    (folder / "b/021.jpg").unlink()


def modified(output: Path) -> dict[str, int]:
    """When each shard file was written."""
    return {path.name: path.stat().st_mtime_ns for path in (output / "shards").iterdir()}


def keys_of(file: Path) -> set[str]:
    return set(pq.read_table(file, columns=["key"])["key"].to_pylist())


def changes(output: Path) -> dict[str, str]:
    table = pq.read_table(output / "changes.parquet")
    return dict(zip(table["key"].to_pylist(), table["change"].to_pylist(), strict=True))


@dataclass(frozen=True)
class Increments:
    """An input that each test may change, and what undisturbed runs over its states wrote.

    Its place is always the same, because an output belongs to the place of its input.
    """

    source: Path
    first: Path
    anew: Path


@pytest.fixture(scope="module")
def increments(
    photographs: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None
) -> Increments:
    folder = tmp_path_factory.mktemp("increments")
    made = Increments(folder / "in", folder / "first", folder / "anew")
    shutil.copytree(photographs, made.source)
    in_process(made.source, made.first)
    change(made.source)
    in_process(made.source, made.anew)
    return made


@pytest.fixture
def source(photographs: Path, increments: Increments) -> Path:
    """A copy of the photographs that may change."""
    shutil.rmtree(increments.source)
    return Path(shutil.copytree(photographs, increments.source))


@pytest.fixture
def output(source: Path, increments: Increments, tmp_path: Path) -> Path:
    """The output of a finished run over `source`, that may change."""
    return Path(shutil.copytree(increments.first, tmp_path / "out"))


@pytest.fixture
def anew(increments: Increments) -> Path:
    """The output of a run over the changed `source` that found nothing there."""
    return increments.anew


def test_only_shards_that_hold_a_changed_key_are_done_again(source: Path, output: Path) -> None:
    before, held = modified(output), {p: keys_of(p) for p in (output / "shards").iterdir()}
    change(source)
    result = in_process(source, output)
    assert result["input_changes"] == {"added": 1, "changed": 1, "removed": 1}
    assert changes(output) == EXPECTED_CHANGES
    after = modified(output)
    kept = {name for name in after if after[name] == before.get(name)}
    untouched = {p.name for p, keys in held.items() if keys.isdisjoint(EXPECTED_CHANGES)}
    # a cut may move in the shard behind a change, not further
    assert kept <= untouched and len(untouched - kept) <= len(EXPECTED_CHANGES)
    assert len(kept) >= 2
    fresh = [keys_of(output / "shards" / name) for name in after.keys() - kept]
    assert result["new_images"] == sum(map(len, fresh)) < COUNT
    assert result["images"] == COUNT


def test_superseded_rows_are_gone_from_readers_and_from_the_folder(
    source: Path, output: Path, anew: Path
) -> None:
    change(source)
    in_process(source, output)
    assert_same(output, anew)
    in_files = [key for path in (output / "shards").iterdir() for key in keys_of(path)]
    assert sorted(in_files) == read(str(output))["key"].to_pylist()
    assert {path.name for path in (output / "manifest").iterdir()} == {
        path.name for path in (anew / "manifest").iterdir()
    }


class Watched:
    """Calls something at every receipt of a pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, then: Any) -> None:
        receipts = ledger._receipts

        def watched(graph: Any) -> Generator[tuple[str, ShardCounts, ShardCounts]]:
            for receipt in receipts(graph):
                yield receipt
                then()

        monkeypatch.setattr(ledger, "_receipts", watched)


def test_a_reader_during_an_increment_sees_the_whole_old_state(
    source: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, seen = read(str(output)), []
    change(source)
    Watched(monkeypatch, lambda: seen.append(read(str(output))))
    in_process(source, output)
    assert len(seen) >= 2
    assert all(rows.equals(old) for rows in seen)
    assert not read(str(output)).equals(old)


def test_a_reader_at_any_moment_of_increments_sees_one_state_whole(
    source: Path, output: Path, anew: Path
) -> None:
    states = [read(str(output)), read(str(anew))]
    change(source)
    seen: list[pa.Table] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.append(read(str(output)))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        in_process(source, output)
    finally:
        ended.set()
        reader.join()
    seen.append(read(str(output)))
    found = [next((i for i, s in enumerate(states) if s.equals(rows)), None) for rows in seen]
    assert None not in found, [rows.num_rows for rows in seen]
    assert found[0] == 0 and found[-1] == 1 and found == sorted(found, key=lambda i: i or 0)


# In a process of its own: Ray 2.60 now and then aborts a driver whose stream is broken off.
DEATH = """
import os, signal
from specray.pipelines import ledger

receipts = ledger._receipts

def dying(graph):
    for receipt in receipts(graph):
        yield receipt
        os.kill(os.getpid(), signal.SIGKILL)

ledger._receipts = dying
"""


def test_a_killed_increment_is_continued_and_still_reports_the_changes(
    source: Path, output: Path, anew: Path
) -> None:
    old = read(str(output))
    change(source)
    with segment(source, output, script=DEATH, environment=on_our_ray()) as running:
        assert running.process.wait(240) == -signal.SIGKILL
    assert read(str(output)).equals(old)
    result = in_process(source, output)
    assert result["input_changes"] == {"added": 1, "changed": 1, "removed": 1}
    assert changes(output) == EXPECTED_CHANGES
    assert_same(output, anew)
    again = in_process(source, output)
    assert (again["new_images"], again["input_changes"]) == (0, {})


def test_an_input_that_changes_back_is_the_first_state_again(source: Path, output: Path) -> None:
    old, before = read(str(output)), {p.name for p in (output / "shards").iterdir()}
    moved = source / "a/000.jpg"
    status = moved.stat()
    hidden = moved.rename(source / ".hidden")
    assert in_process(source, output)["input_changes"]["removed"] == 1
    assert "a/000.jpg" not in read(str(output))["key"].to_pylist()
    hidden.rename(moved)
    os.utime(moved, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert in_process(source, output)["input_changes"] == {"added": 1, "changed": 0, "removed": 0}
    assert read(str(output)).equals(old)
    assert {p.name for p in (output / "shards").iterdir()} == before


def test_a_key_list_in_any_order_gives_the_rows_and_files_of_a_listing(
    photographs: Path, calm: Path, tmp_path: Path
) -> None:
    keys = read(str(calm))["key"].to_pylist()
    shuffled = random.Random(0).sample(keys, len(keys))
    for name, listed in (("sorted", keys), ("shuffled", shuffled)):
        file = tmp_path / f"{name}.txt"
        file.write_text("\n".join(listed))
        in_process(photographs, tmp_path / name, keys=file)
        assert_same(tmp_path / name, calm)


@pytest.mark.parametrize(
    "settings",
    [{"num_workers": 2}, {"batch_size": 3}, {"shard_size": 9, "batch_size": 9}, {"shard_size": 48}],
    ids=str,
)
def test_how_the_work_is_spread_changes_no_row(
    photographs: Path, calm: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    in_process(photographs, tmp_path, **settings)
    assert read(str(tmp_path)).equals(read(str(calm)))
