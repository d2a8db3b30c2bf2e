"""Kill workers and drivers while a segmenter is trained: the bits of a calm run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.cluster import SmallCluster, small_cluster
from tests.faults.command import Running, command
from tests.faults.test_training_kills import PATIENCE, step_of
from tests.pipelines.segmenter.cases import ENCODER, write_encoder, write_labels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 40
WORKER_KILLS, DRIVER_KILLS = 2, 2
FLAGS = (
    *("--network", "vit-decoder", "--encoder", ENCODER, "--steps", str(STEPS), "--batch", "8"),
    *("--short-side", "64", "--crop", "48", "--checkpoint-every", "4", "--num-workers", "2"),
)


@pytest.fixture(scope="module")
def folder(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With labels in ``out`` and the weights of an encoder."""
    path = tmp_path_factory.mktemp("labelled")
    write_labels(path)
    write_encoder(path / "encoder.safetensors")
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[SmallCluster]:
    with small_cluster() as cluster:
        yield cluster


def train(
    folder: Path, output: Path, cluster: SmallCluster, *options: str
) -> AbstractContextManager[Running]:
    flags = ["--input", str(folder / "out"), "--output", str(output)]
    flags += ["--weights", str(folder / "encoder.safetensors")]
    environment = {"RAY_ADDRESS": cluster.address} | PATIENCE
    return command("train-segmenter", *flags, *FLAGS, *options, environment=environment)


@pytest.fixture(scope="module")
def calm(folder: Path, cluster: SmallCluster, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The segmenter of an undisturbed run."""
    output = tmp_path_factory.mktemp("calm")
    with train(folder, output, cluster) as running:
        assert running.finish()["steps"] == STEPS
    return (output / "segmenter.safetensors").read_bytes()


def test_workers_that_are_killed_go_on_to_the_same_bits(
    folder: Path, cluster: SmallCluster, calm: bytes, tmp_path: Path
) -> None:
    rng = random.Random(3)
    killed = 0
    with train(folder, tmp_path, cluster, "--max-failures", "20") as running:
        for strike in sorted(rng.sample(range(4, STEPS - 8), WORKER_KILLS)):
            running.wait_for(lambda at=strike: step_of(tmp_path) >= at)  # type: ignore[misc]
            workers = cluster.workers(lambda title: "RayTrainWorker" in title)
            if workers:
                rng.choice(sorted(workers, key=lambda process: process.pid)).kill()
                killed += 1
        running.finish()
    assert killed == WORKER_KILLS
    assert (tmp_path / "segmenter.safetensors").read_bytes() == calm


def test_drivers_that_are_killed_are_continued_to_the_same_bits(
    folder: Path, cluster: SmallCluster, calm: bytes, tmp_path: Path
) -> None:
    rng = random.Random(4)
    for strike in sorted(rng.sample(range(4, STEPS - 8), DRIVER_KILLS)):
        with train(folder, tmp_path, cluster) as running:
            assert running.wait_for(lambda at=strike: step_of(tmp_path) >= at)  # type: ignore[misc]
            running.process.kill()
            running.process.wait()
        assert not (tmp_path / "segmenter.safetensors").exists()
    with train(folder, tmp_path, cluster) as running:
        running.finish()
    assert (tmp_path / "segmenter.safetensors").read_bytes() == calm
