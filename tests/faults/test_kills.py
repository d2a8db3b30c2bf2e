"""Kill anything, at any moment, and type the same command again: the rows of a calm run.

`SPECRAY_FAULT_SCHEDULES` is the number of schedules (default 1). On a cluster of your own,
`python -m tests.faults.chaos` kills while a job of yours runs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import psutil
import pytest

from tests.faults.cluster import SmallCluster, small_cluster
from tests.faults.command import Running, assert_same, run, segment, shards
from tests.faults.compare import difference
from tests.faults.proxy import Proxy, faulty_s3
from tests.pipelines.photographs import write_photographs

SCHEDULES = int(os.environ.get("SPECRAY_FAULT_SCHEDULES", "1"))
IMAGES = 96
SHARD, BATCH = 16, 1  # as many batches to a shard as by default
WORKERS = 2
KINDS = ("worker", "actor", "node", "driver")
"""Each strikes once in a schedule, in an order of its own."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Place:
    """Where the schedules run: an input that counts its reads, and what must come out."""

    cluster: SmallCluster
    proxy: Proxy
    bucket: str
    options: tuple[str, ...]
    calm: Path
    calm_seconds: float
    keys: list[str]

    @property
    def source(self) -> str:
        return f"s3://{self.bucket}/in"

    @property
    def environment(self) -> dict[str, str]:
        return {"RAY_ADDRESS": self.cluster.address}

    def reads(self) -> int:
        """Objects of the input that were fetched so far."""
        return sum(n for key, n in self.proxy.gets.items() if key.startswith(f"{self.bucket}/in/"))


@pytest.fixture(scope="module")
def place(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kills")
    keys = write_photographs(folder / "in", IMAGES)
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="kills")
    for key in keys:
        client.put_object(Bucket="kills", Key=f"in/{key}", Body=(folder / "in" / key).read_bytes())
    with faulty_s3(s3_server, seed=0, rate=0) as proxy, small_cluster() as cluster:
        options: tuple[str, ...] = ("--shard-size", str(SHARD), "--batch-size", str(BATCH))
        options += ("--num-workers", str(WORKERS))
        options += ("--endpoint", proxy.url)
        place = Place(cluster, proxy, "kills", options, folder / "calm", 0, keys)
        start = time.monotonic()
        result = run(place.source, place.calm, *options, environment=place.environment)
        place.calm_seconds = time.monotonic() - start
        assert (result["images"], result["errors"], result["repeated_images"]) == (IMAGES, 0, 0)
        assert place.reads() == IMAGES
        yield place


def strike(kind: str, rng: random.Random, place: Place, running: Running) -> int:
    """Kill something; returns how many processes died of it."""
    if kind == "driver":
        workers = place.cluster.workers(lambda title: "IDLE" not in title)
        running.process.kill()
        return 1 + len(workers)  # Ray ends what worked for it
    return {
        "worker": place.cluster.kill_worker,
        "actor": place.cluster.kill_actor,
        "node": place.cluster.remove_node,
    }[kind](rng)


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_killed_at_random_the_rows_are_those_of_a_calm_run(
    place: Place, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    place.cluster.mend()
    total, before = len(shards(place.calm)), place.reads()
    # when to strike: at so many shards, a moment later
    times = sorted(rng.sample(range(total), len(KINDS)))
    kinds = rng.sample(KINDS, len(KINDS))
    strikes = list(zip(times, kinds, strict=True))
    dead, start = 0, time.monotonic()
    while True:
        with segment(
            place.source, tmp_path, *place.options, environment=place.environment
        ) as running:
            while strikes and running.wait_for(lambda: len(shards(tmp_path)) >= strikes[0][0]):
                time.sleep(rng.uniform(0, 0.3))
                _, kind = strikes.pop(0)
                dead += strike(kind, rng, place, running)
                if kind == "driver":
                    break
            if running.process.wait(300) != -9:
                result = running.finish()
                break
    seconds = time.monotonic() - start
    repeated = place.reads() - before - IMAGES
    print(
        json.dumps(
            {
                "seed": seed,
                "kinds": kinds,
                "processes_killed": dead,
                "read_again": repeated,
                "segmented_again": result["repeated_images"],
                "seconds": round(seconds, 1),
                "calm_seconds": round(place.calm_seconds, 1),
            }
        )
    )
    assert_same(tmp_path, place.calm, place.keys)
    assert (result["images"], result["errors"]) == (IMAGES, 0)
    assert repeated <= SHARD * dead
    # counted by the driver that lived to the end; null if what counts was killed
    assert (result["repeated_images"] or 0) <= SHARD * dead


def test_a_cluster_that_stays_smaller_is_planned_anew(place: Place, tmp_path: Path) -> None:
    place.cluster.mend()
    options = (*place.options, "--num-workers", str(WORKERS + 1))
    with segment(place.source, tmp_path, *options, environment=place.environment) as running:
        assert running.wait_for(lambda: bool(shards(tmp_path)), 300)
        place.cluster.remove_node(random.Random(0))
        result = running.finish(500)
        said = running.log.read_text()
    assert f"the cluster has become smaller; going on with {WORKERS} workers" in said
    assert (result["images"], result["errors"]) == (IMAGES, 0)
    assert_same(tmp_path, place.calm, place.keys)


def test_chaos_from_beside_changes_nothing(place: Place, tmp_path: Path) -> None:
    place.cluster.mend()
    with (
        segment(place.source, tmp_path, *place.options, environment=place.environment) as running,
        psutil.Popen(
            [sys.executable, "-m", "tests.faults.chaos", "--seed", "7", "--every", "3"],
            env=os.environ | place.environment,
            stdout=subprocess.PIPE,
        ) as chaos,
    ):
        result = running.finish()
        chaos.kill()
        strikes = [json.loads(line) for line in chaos.stdout]
    assert any(strike["process"] for strike in strikes)
    assert result["images"] == IMAGES
    assert difference(str(place.calm), str(tmp_path)) is None
