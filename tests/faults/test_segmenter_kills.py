"""Kill workers, drivers and nodes while a segmenter is trained: what a calm run ends with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from specray.semantics.segmenter.segmenter_file import Segmenter
from tests.faults.cluster import SmallCluster, small_cluster
from tests.faults.command import Running, command
from tests.faults.test_training_kills import reach
from tests.pipelines.segmenter.cases import ENCODER, write_encoder, write_labels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 24
WORKERS = ("--num-workers", "2")
FLAGS = (
    *("--network", "vit-decoder", "--encoder", ENCODER, "--steps", str(STEPS), "--batch", "8"),
    *("--short-side", "64", "--crop", "48", "--checkpoint-every", "4"),
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
    environment = {"RAY_ADDRESS": cluster.address}
    return command("train-segmenter", *flags, *FLAGS, *options, environment=environment)


@pytest.fixture(scope="module")
def calm(folder: Path, cluster: SmallCluster, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The segmenter of an undisturbed run."""
    output = tmp_path_factory.mktemp("calm")
    with train(folder, output, cluster, *WORKERS) as running:
        assert running.finish()["steps"] == STEPS
    return (output / "segmenter.safetensors").read_bytes()


def test_workers_and_drivers_that_are_killed_are_continued_to_the_same_bits(
    folder: Path, cluster: SmallCluster, calm: bytes, tmp_path: Path
) -> None:
    rng = random.Random(3)
    first, second, third = sorted(rng.sample(range(4, STEPS - 8, 4), 3))

    with train(folder, tmp_path, cluster, *WORKERS) as running:
        reach(running, tmp_path, first)
        workers = cluster.workers(lambda title: "RayTrainWorker" in title)
        rng.choice(sorted(workers, key=lambda process: process.pid)).kill()
        reach(running, tmp_path, second)
        running.process.kill()
    with train(folder, tmp_path, cluster, *WORKERS) as running:
        reach(running, tmp_path, third)
        running.process.terminate()  # the machine is wanted back
        assert running.process.wait(60) == 143
    assert not (tmp_path / "segmenter.safetensors").exists()
    with train(folder, tmp_path, cluster, *WORKERS) as running:
        assert running.finish()["steps"] == STEPS
    assert (tmp_path / "segmenter.safetensors").read_bytes() == calm


def test_where_a_node_is_lost_those_that_are_left_go_on(
    folder: Path, cluster: SmallCluster, calm: bytes, tmp_path: Path
) -> None:
    elastic = ("--num-workers", "4", "--min-workers", "1")
    with train(folder, tmp_path, cluster, *elastic) as running:
        reach(running, tmp_path, STEPS // 2)
        cluster.remove_node(random.Random(4))
        assert running.finish()["steps"] == STEPS
    cluster.mend()
    # with other workers a batch is summed in another order
    data = (tmp_path / "segmenter.safetensors").read_bytes()
    one, other = (Segmenter.from_bytes(each).build() for each in (data, calm))
    image = torch.randint(0, 256, (1, 3, 64, 80), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(one(image), other(image), rtol=0, atol=1e-3)
