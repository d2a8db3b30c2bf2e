"""Several runs on one output: they share the work or one gives way, and no row is there twice."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from specray.errors import UserError
from specray.pipelines import ledger
from specray.tables import read
from specray.tables.counts import ShardCounts
from tests.faults.command import COUNT, assert_same, in_process, on_our_ray, segment, shards

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def key_list(folder: Path, name: str, keys: list[str]) -> Path:
    file = folder / name
    file.write_text("\n".join(keys))
    return file


def test_the_same_command_twice_at_once_and_again_gives_the_files_of_one(
    photographs: Path, calm: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        both = [
            stack.enter_context(segment(photographs, tmp_path, environment=on_our_ray()))
            for _ in range(2)
        ]
        results = [running.finish() for running in both]
    assert [result["images"] for result in results] == [COUNT, COUNT]
    assert_same(tmp_path, calm)
    before = {path: path.stat() for path in (tmp_path / "shards").iterdir()}
    assert in_process(photographs, tmp_path)["new_images"] == 0
    assert {path: path.stat() for path in (tmp_path / "shards").iterdir()} == before


def test_of_two_commands_with_other_images_the_first_gives_way_and_the_second_is_whole(
    photographs: Path, calm: Path, tmp_path: Path
) -> None:
    keys = read(str(calm))["key"].to_pylist()
    lists = [
        key_list(tmp_path, "first.txt", keys[: COUNT // 2]),
        key_list(tmp_path, "second.txt", keys[COUNT // 3 :]),
    ]
    output = tmp_path / "out"
    both = on_our_ray()
    with segment(photographs, output, "--keys", str(lists[0]), environment=both) as first:
        assert first.wait_for((output / "run.json").exists)
        with segment(photographs, output, "--keys", str(lists[1]), environment=both) as second:
            second.finish()
            assert first.process.wait(240) == 2
        assert "another run" in first.log.read_text().splitlines()[-1]
    in_process(photographs, tmp_path / "anew", lists[1])
    assert read(str(output)).equals(read(str(tmp_path / "anew")))
    in_process(photographs, output, lists[1])
    assert_same(output, tmp_path / "anew")


def test_a_run_that_is_overtaken_gives_way_and_what_its_tasks_wrote_late_is_never_read(
    photographs: Path, calm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks of the first run go on while the second begins and ends: they are zombies."""
    keys = read(str(calm))["key"].to_pylist()
    second = key_list(tmp_path, "second.txt", keys[COUNT // 3 :])
    output, anew = tmp_path / "out", tmp_path / "anew"
    in_process(photographs, anew, second)
    receipts = ledger._receipts

    def overtaken(graph: Any) -> Generator[tuple[str, ShardCounts, ShardCounts]]:
        found = receipts(graph)
        yield next(found)
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "_receipts", receipts)
            in_process(photographs, output, second)
        yield from found

    monkeypatch.setattr(ledger, "_receipts", overtaken)
    with pytest.raises(UserError, match="another run"):
        in_process(photographs, output)
    monkeypatch.undo()
    assert read(str(output)).equals(read(str(anew)))

    zombie = next(iter(shards(calm).keys() - shards(anew).keys()))
    (output / "shards" / zombie).write_bytes((calm / "shards" / zombie).read_bytes())
    assert read(str(output)).equals(read(str(anew)))
    assert in_process(photographs, output, second)["new_images"] == 0
    assert_same(output, anew)
