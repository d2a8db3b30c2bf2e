"""What is decoded waits for the engine in bounded room, however many images there are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import ray
from PIL import Image

from specray.backbones import BackboneConfig
from specray.pipelines.benchmark.logical import store_peak
from specray.pipelines.benchmark.sleeping import Log, OneImage, SleepingWork
from specray.pipelines.config import RunConfig, SegmentConfig
from specray.pipelines.graph import StreamingPass
from specray.pipelines.output import Output
from specray.pipelines.record import new_record
from specray.pipelines.weights import Weights
from specray.sources import Entry, LocalStore, write_manifest

SIDE = 1000
IMAGES = 256
DECODED = IMAGES * SIDE * SIDE * 3
"""Bytes of all images: three times the object store of the tests."""


@pytest.mark.slow
def test_a_slow_engine_does_not_fill_the_object_store(tmp_path: Path, ray_cluster: None) -> None:
    run = RunConfig(num_workers=1, batch_size=4, shard_size=16)
    config = SegmentConfig(
        str(tmp_path / "in"),
        str(tmp_path / "out"),
        features=BackboneConfig(backbone="descriptor"),
        run=run,
    )
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(buffer, "JPEG")
    (tmp_path / "log").mkdir()
    log = Log(str(tmp_path / "log"), 1)
    source, store = OneImage(config.input, buffer.getvalue(), log), LocalStore(config.output)
    record = new_record(config, source, store, Weights())
    entries = (Entry(f"{i:06}.jpg", 1, f"{i:032x}") for i in range(IMAGES))
    record["manifest"] = write_manifest(entries, store, run.shard_size)
    output = Output(store, record)
    output.begin()
    work = SleepingWork(0.05, log)
    with store_peak() as peak:
        counts, _ = StreamingPass(config, source, store, output.missing(()), 16, work).run()
    assert (counts.images, counts.errors) == (IMAGES, 0)
    room = ray.cluster_resources()["object_store_memory"]
    assert room < DECODED / 2
    assert 0 < peak() < 0.75 * room  # Ray Data plans with half; what is on its way comes on top
