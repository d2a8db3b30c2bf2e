"""A finished run of very many images is recognised at once, in little memory."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from specray.backbones import BackboneConfig
from specray.pipelines.config import SegmentConfig
from specray.pipelines.output import Output
from specray.pipelines.record import new_record
from specray.pipelines.weights import Weights
from specray.sources import entries_of, list_images, open_store, read_manifest, write_manifest
from specray.tables.commit import commit_shard
from specray.tables.rows import Row, table_of
from tests.faults.command import segment

COUNT = 100_000
FOLDERS = 100


def write_files(folder: Path, count: int) -> None:
    """Tiny files that only have the names of images."""
    for i in range(FOLDERS):
        (folder / f"{i:03}").mkdir(parents=True)
        for j in range(count // FOLDERS):
            (folder / f"{i:03}/{j:05}.jpg").write_bytes(b"x")


def commit_everything(config: SegmentConfig) -> None:
    """A run as it would be if its images were segmented, by the same steps."""
    source, output = open_store(config.input), open_store(config.output)
    record = new_record(config, source, output, Weights())
    record["manifest"] = write_manifest(list_images(source), output, config.run.shard_size)
    whole = Output(output, record)
    whole.begin()
    for shard, listed in zip(whole.shards, read_manifest(output, record["manifest"]), strict=True):
        rows: list[Row] = [
            {"key": entry.key, "size": entry.size, "width": 8, "height": 8, "segments": []}
            for entry in entries_of(listed)
        ]
        commit_shard(output, shard.name, table_of(rows))
    whole.finish({"images": COUNT})


@pytest.mark.slow
def test_a_finished_run_of_a_hundred_thousand_images_is_recognised_in_a_minute_and_a_gigabyte(
    tmp_path: Path,
) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_files(source, COUNT)
    commit_everything(
        SegmentConfig(str(source), str(output), features=BackboneConfig(backbone="descriptor"))
    )
    start, peak = time.monotonic(), 0
    with segment(source, output, "--shard-size", "256") as running:

        def ended() -> bool:
            nonlocal peak
            with suppress(psutil.NoSuchProcess):
                peak = max(peak, running.process.memory_info().rss)
            return False

        running.wait_for(ended)
        result = running.finish()
    assert (result["images"], result["new_images"]) == (COUNT, 0)
    assert time.monotonic() - start < 60
    assert 0 < peak < 10**9
