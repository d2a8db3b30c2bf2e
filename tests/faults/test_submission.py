"""Jobs that are submitted from a clone, over HTTP, to a cluster of several nodes."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pyarrow.parquet as pq
import pytest

from tests.faults.command import COUNT, Running, assert_same, on_our_ray, rows, run, shards
from tests.faults.proxy import Proxy, faulty_s3

pytest.importorskip(
    "ray.dashboard.optional_deps",
    reason="a job server needs ray[default]: pip install '.[cluster]'",
    exc_type=ImportError,
)

from tests.faults.submitting import JobServer, Series, fresh_clone, job_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PATIENCE = 700
"""Seconds for a job: it starts more processes than other tests, which share the cores with it."""

QUICK = (
    *("--backbone", "descriptor", "--shard-size", "8", "--batch-size", "4"),
    *("--methods", "objects", "--refine", "none"),
)
"""Little to compute, and little to compile, which a new clone does anew."""

ONE = ("--num-workers", "1")

PROGRESS = re.compile(
    rf"\d+ / {COUNT} images \(\d+ %\), \d+\.\d images/s, \d+ errors?, [-:\d]+ left"
)

WHERE = """
import ray

import specray


@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where():
    import specray

    return specray.__file__


ray.init(log_to_driver=False)
print(specray.__file__, *ray.get([where.remote() for _ in range(4)]), sep="\\n")
"""
"""A job that tells which code its driver and its workers have imported."""


@dataclass
class Stored:
    """Photographs in a bucket, and what an undisturbed run on this machine makes of them."""

    client: Any
    bucket: str
    endpoint: str
    calm: Path

    @property
    def source(self) -> str:
        return f"s3://{self.bucket}/in"

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Contents, by name below the prefix."""
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        assert not found["IsTruncated"]
        return {
            item["Key"].removeprefix(prefix): self.client.get_object(
                Bucket=self.bucket, Key=item["Key"]
            )["Body"].read()
            for item in found.get("Contents", ())
        }


@pytest.fixture(scope="module")
def stored(
    photographs: Path, s3_server: str, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Stored:
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="submitted")
    for path in photographs.rglob("*.jpg"):
        name = f"in/{path.relative_to(photographs)}"
        client.put_object(Bucket="submitted", Key=name, Body=path.read_bytes())
    stored = Stored(client, "submitted", s3_server, tmp_path_factory.mktemp("stored"))
    options = (*QUICK, *ONE, "--endpoint", s3_server)
    run(stored.source, stored.calm, *options, environment=on_our_ray())
    return stored


@pytest.fixture
def held(stored: Stored) -> Iterator[Proxy]:
    """The way to the bucket, on which the photographs of ``b/`` are held up until it is healed."""
    forever = float("inf")
    with faulty_s3(stored.endpoint, seed=0, rate=1, kinds=("stall",), stall=forever) as proxy:
        proxy.only = f"{stored.bucket}/in/b/"
        yield proxy


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One and the same for all: what was compiled in it is of use to the next job."""
    folder = fresh_clone(tmp_path_factory.mktemp("clone") / "specray")
    (folder / "jobs" / "where.py").write_text(WHERE)
    return folder


@pytest.fixture(scope="module")
def server(s3_server: str) -> Iterator[JobServer]:
    with job_server() as server:
        yield server


def segment(stored: Stored, output: object, *options: str, endpoint: str = "") -> list[str]:
    """The words of a job."""
    places = ["--input", stored.source, "--output", str(output)]
    places += ["--endpoint", endpoint or stored.endpoint]
    return ["python", "jobs/segment.py", *places, *QUICK, *options]


def result_of(log: str) -> dict[str, Any]:
    """The last line of the log of a job."""
    result: dict[str, Any] = json.loads(log.splitlines()[-1])
    return result


def keys_of(output: Path) -> dict[str, list[str]]:
    """The photographs of each shard, in order."""
    paths = (output / "shards").iterdir()
    return {path.name: pq.read_table(path)["key"].to_pylist() for path in paths}


def of_a(output: Path) -> set[str]:
    """The shards that hold photographs of ``a/`` only."""
    found = {name for name, keys in keys_of(output).items() if keys[-1].startswith("a/")}
    assert found
    return found


def test_driver_and_workers_run_the_code_that_was_submitted(server: JobServer, clone: Path) -> None:
    with server.submit("where", clone, "python", "jobs/where.py") as running:
        assert running.process.wait(PATIENCE) == 0, running.output
    places = server.client.get_job_logs("where").splitlines()[-5:]
    for place in places:
        assert re.search(r"/working_dir_files/_ray_pkg_\w+/specray/__init__\.py$", place), places


def test_a_flag_that_does_not_fit_fails_the_job_with_a_line(
    server: JobServer, clone: Path, stored: Stored, tmp_path: Path
) -> None:
    words = segment(stored, tmp_path, "--device", "cuda")
    with server.submit("wrong", clone, *words) as running:
        assert running.process.wait(PATIENCE) == 1
    assert server.status("wrong") == "FAILED"
    last = server.client.get_job_logs("wrong").splitlines()[-1]
    assert last.startswith("specray segment: --device cuda, but Ray sees no GPU"), last


def test_a_job_outlives_the_terminal_that_submitted_it(
    server: JobServer, clone: Path, stored: Stored, held: Proxy, tmp_path: Path
) -> None:
    words = segment(stored, tmp_path, *ONE, endpoint=held.url)
    with server.submit("orphan", clone, *words) as running:
        assert running.wait_for(lambda: bool(shards(tmp_path)), PATIENCE)
        running.process.kill()
        assert running.process.wait() == -signal.SIGKILL
    assert server.status("orphan") == "RUNNING"
    held.heal()
    assert server.wait("orphan") == "SUCCEEDED"
    assert_same(tmp_path, stored.calm)


def test_a_stopped_job_continues_under_another_id_and_reads_nothing_again(
    server: JobServer, clone: Path, stored: Stored, held: Proxy, tmp_path: Path
) -> None:
    words = segment(stored, tmp_path, *ONE, endpoint=held.url)
    first = of_a(stored.calm)
    earlier = server.metrics()
    with server.submit("stopped", clone, *words) as running:
        assert running.wait_for(lambda: set(shards(tmp_path)) == first, PATIENCE), running.output
        assert_metrics_tell(server, running, earlier.keys(), tmp_path)
        with server.submit("stopped", clone, *words) as second:
            assert second.process.wait(PATIENCE) != 0
            assert "already exists" in second.log.read_text()
        workers = server.cluster.workers(lambda title: "Map" in title)
        assert workers
        server.ask("stop", "stopped")
        assert running.process.wait(PATIENCE) == 0
    assert server.status("stopped") == "STOPPED"
    last = server.client.get_job_logs("stopped").splitlines()[-1]
    assert last == "specray segment: stopped; the same command continues"
    _, alive = psutil.wait_procs(workers, 120)
    assert not alive
    assert set(shards(tmp_path)) == first
    done = {key for keys in keys_of(tmp_path).values() for key in keys}
    missing = [key for key in rows(stored.calm)["key"].to_pylist() if key not in done]
    assert 0 < len(missing) < COUNT
    held.heal()
    before = held.gets.copy()
    with server.submit("continued", clone, *words) as running:
        assert running.process.wait(PATIENCE) == 0, running.output
    assert_same(tmp_path, stored.calm)
    read = {name: n for name, n in (held.gets - before).items() if "/in/" in name}
    assert read == Counter(f"{stored.bucket}/in/{key}" for key in missing)
    assert result_of(server.client.get_job_logs("continued"))["new_images"] == len(missing)


def test_a_job_fills_a_bucket_as_a_local_run_does_while_nodes_come_and_go_and_tells_how_far_it_is(
    server: JobServer, clone: Path, stored: Stored, held: Proxy
) -> None:
    words = segment(stored, f"s3://{stored.bucket}/out", endpoint=held.url)
    first = {f"shards/{name}" for name in of_a(stored.calm)}
    with server.submit("moving", clone, *words) as running:
        assert running.wait_for(lambda: first <= stored.objects("out/").keys(), PATIENCE), (
            running.output
        )
        lost, added = server.cluster.nodes[0], server.cluster.add_node()
        assert running.wait_for(lambda: bool(working(server, added)), PATIENCE), running.output
        assert working(server, lost)
        server.cluster.lose_node(lost)
        held.heal()
        assert running.process.wait(PATIENCE) == 0, running.output
        told = running.output
    assert "succeeded" in server.ask("status", "moving")
    log = server.client.get_job_logs("moving")
    assert log in server.ask("logs", "moving") and log in told
    assert any(PROGRESS.fullmatch(line) for line in log.splitlines()), log
    result = result_of(log)
    assert (result["images"], result["errors"], result["new_images"]) == (COUNT, 0, COUNT)
    made, wanted = rows(f"s3://{stored.bucket}/out", stored.endpoint), rows(stored.calm)
    assert len(set(made["key"].to_pylist())) == COUNT
    assert made.equals(wanted)
    found = stored.objects("out/")
    files = {
        path.relative_to(stored.calm).as_posix(): path.read_bytes()
        for path in stored.calm.rglob("*")
        if path.is_file()
    }
    assert found.keys() == files.keys()
    assert all(data == files[name] for name, data in found.items() if name.endswith(".parquet"))
    assert not stored.client.list_multipart_uploads(Bucket=stored.bucket).get("Uploads")


def assert_metrics_tell(
    server: JobServer, running: Running, earlier: Set[Series], output: Path
) -> None:
    """Of a job that stands still: what it has committed, and that stages took time.

    The driver hears of a shard when the next has come.
    """
    committed = [len(keys) for keys in keys_of(output).values()]

    def new(name: str) -> dict[str, float]:
        now = server.metrics()
        return {
            each.tag: value
            for each, value in now.items()
            if each.name == f"ray_specray_{name}_total" and each not in earlier
        }

    def told() -> bool:
        return sum(committed) - max(committed) <= new("images").get("", 0) > 0

    assert running.wait_for(told, PATIENCE), server.metrics()
    assert new("images")[""] <= sum(committed)
    assert 0 < new("bytes")[""] <= sum(map(len, shards(output).values()))
    assert {"decode", "segment"} <= new("stage_seconds").keys()
    assert not new("errors")


def working(server: JobServer, node: Any) -> list[psutil.Process]:
    """Processes of a node that work for a pass just now."""
    return server.cluster.workers(lambda title: title.startswith("ray::Map"), node)
