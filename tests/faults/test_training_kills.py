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
from tests.faults.test_kills import SCHEDULES
from tests.pipelines.photographs import write_photographs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 60 if SCHEDULES > 1 else 24
DRIVERS, WORKERS_EACH = (4, 2) if SCHEDULES > 1 else (1, 1)
"""Deaths of the driver, and of workers before each of them."""
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
    environment = {"RAY_ADDRESS": cluster.address}
    return command("train-primaps", *flags, *FLAGS, *options, environment=environment)


def written(output: Path) -> list[bytes]:
    """The prototypes: those of the end, and the best, which the probe and scores go into."""
    return [(output / name).read_bytes() for name in WRITTEN]


def step_of(output: Path) -> int:
    """Number of the newest checkpoint."""
    found = output.glob("checkpoints/*/step-*")
    return max((int(path.name.removeprefix("step-")) for path in found), default=0)


def reach(running: Running, output: Path, step: int) -> None:
    """Wait for a checkpoint of this step or a later one."""
    assert running.wait_for(lambda: step_of(output) >= step)


@pytest.fixture(scope="module")
def calm(
    proposals: Path, cluster: SmallCluster, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[bytes]]:
    """The prototypes of undisturbed runs, by their number of workers."""
    found = {}
    for workers in (2, 4):
        output = tmp_path_factory.mktemp(f"calm{workers}")
        with train(proposals, output, cluster, workers) as running:
            assert running.finish()["steps"] == STEPS
        found[workers] = written(output)
    return found


def test_two_and_four_workers_fit_the_same_prototypes(calm: dict[int, list[bytes]]) -> None:
    two, four = (Classifier.from_bytes(calm[workers][0]) for workers in (2, 4))
    assert abs(two.momentum - four.momentum).max() <= 1e-6
    assert abs(two.running - four.running).max() <= 1e-6


def test_workers_and_drivers_that_are_killed_are_continued_to_the_same_bits(
    proposals: Path, cluster: SmallCluster, calm: dict[int, list[bytes]], tmp_path: Path
) -> None:
    rng = random.Random(1)
    steps = iter(sorted(rng.sample(range(4, STEPS - 8), DRIVERS * (WORKERS_EACH + 1))))
    killed = 0
    for _ in range(DRIVERS):
        with train(proposals, tmp_path, cluster, 2, "--max-failures", "20") as running:
            for _ in range(WORKERS_EACH):
                reach(running, tmp_path, next(steps))
                workers = cluster.workers(lambda title: "RayTrainWorker" in title)
                if workers:
                    rng.choice(sorted(workers, key=lambda process: process.pid)).kill()
                    killed += 1
            reach(running, tmp_path, next(steps))
            running.process.kill()
            running.process.wait()
        assert not (tmp_path / "prototypes.safetensors").exists()
    with train(proposals, tmp_path, cluster, 2) as running:
        running.finish()
    # one may come while workers are being replaced
    assert killed >= max(1, DRIVERS * WORKERS_EACH - 1)
    assert written(tmp_path) == calm[2]
