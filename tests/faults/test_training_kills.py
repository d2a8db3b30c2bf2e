"""Kill workers and drivers while prototypes are fitted: the bits of a calm run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from specray.backbones import BackboneConfig
from specray.pipelines.config import RunConfig, SegmentConfig
from specray.pipelines.segment import run_segment
from specray.semantics.prototypes.classifier import Classifier
from tests.faults.cluster import SmallCluster, small_cluster
from tests.faults.command import Running, command
from tests.pipelines.photographs import write_photographs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 60
WORKER_KILLS, DRIVER_KILLS = 6, 4
PATIENCE = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}
"""Ray Train looks after its workers every two seconds, and takes reports no sooner."""
FLAGS = ("--classes", "4", "--batch", "32", "--em-steps", str(STEPS), "--checkpoint-every", "4")
WRITTEN = ("prototypes.safetensors", "prototypes-best-by-ground-truth.safetensors")


@pytest.fixture(scope="module")
def proposals(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proposals")
    for key in write_photographs(folder / "in", 40):
        with Image.open(folder / "in" / key) as image:
            bright = (np.asarray(image.convert("L")) > 127).astype(np.uint8)
        path = (folder / "truth" / key).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bright).save(path)
    run_segment(
        SegmentConfig(
            str(folder / "in"),
            str(folder / "out"),
            methods=("primaps",),
            keep=("views",),
            features=BackboneConfig(backbone="descriptor"),
            run=RunConfig(num_workers=1),
        )
    )
    return folder / "out"


@pytest.fixture(scope="module")
def cluster() -> Iterator[SmallCluster]:
    with small_cluster() as cluster:
        yield cluster


def train(
    segments: Path, output: Path, cluster: SmallCluster, workers: int, *options: str
) -> AbstractContextManager[Running]:
    flags = ["--input", str(segments), "--output", str(output), "--num-workers", str(workers)]
    flags += ["--truth", str(segments.parent / "truth"), "--truth-classes", "2"]
    environment = {"RAY_ADDRESS": cluster.address} | PATIENCE
    return command("train-primaps", *flags, *FLAGS, *options, environment=environment)


def written(output: Path) -> list[bytes]:
    """The prototypes: those of the end, and the best, which the probe and scores go into."""
    return [(output / name).read_bytes() for name in WRITTEN]


def step_of(output: Path) -> int:
    """Number of the newest checkpoint."""
    found = output.glob("checkpoints/*/step-*")
    return max((int(path.name.removeprefix("step-")) for path in found), default=0)


@pytest.fixture(scope="module")
def calm(
    proposals: Path, cluster: SmallCluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[bytes]]:
    """The prototypes of undisturbed runs, by their number of workers."""
    found = {}
    for workers in (1, 2, 4):
        output = tmp_path_factory.mktemp(f"calm{workers}")
        with train(proposals, output, cluster, workers) as running:
            assert running.finish()["steps"] == STEPS
        found[workers] = written(output)
    return found


def test_one_two_and_four_workers_fit_the_same_prototypes(calm: dict[int, list[bytes]]) -> None:
    one, *others = (Classifier.from_bytes(data[0]) for data in calm.values())
    for other in others:
        assert abs(one.momentum - other.momentum).max() <= 1e-6
        assert abs(one.running - other.running).max() <= 1e-6


def test_workers_that_are_killed_go_on_to_the_same_bits(
    proposals: Path, cluster: SmallCluster, calm: dict[int, list[bytes]], tmp_path: Path
) -> None:
    rng = random.Random(1)
    strikes = sorted(rng.sample(range(4, STEPS - 8), WORKER_KILLS))
    killed = 0
    with train(proposals, tmp_path, cluster, 2, "--max-failures", "20") as running:
        for strike in strikes:
            running.wait_for(lambda at=strike: step_of(tmp_path) >= at)  # type: ignore[misc]
            workers = cluster.workers(lambda title: "RayTrainWorker" in title)
            if workers:
                rng.choice(sorted(workers, key=lambda process: process.pid)).kill()
                killed += 1
        running.finish()
    assert killed >= WORKER_KILLS - 1
    assert written(tmp_path) == calm[2]


def test_drivers_that_are_killed_are_continued_to_the_same_bits(
    proposals: Path, cluster: SmallCluster, calm: dict[int, list[bytes]], tmp_path: Path
) -> None:
    rng = random.Random(2)
    for strike in sorted(rng.sample(range(4, STEPS - 8), DRIVER_KILLS)):
        with train(proposals, tmp_path, cluster, 2) as running:
            assert running.wait_for(lambda at=strike: step_of(tmp_path) >= at)  # type: ignore[misc]
            running.process.kill()
            running.process.wait()
        assert not (tmp_path / "prototypes.safetensors").exists()
    with train(proposals, tmp_path, cluster, 2) as running:
        running.finish()
    assert written(tmp_path) == calm[2]
