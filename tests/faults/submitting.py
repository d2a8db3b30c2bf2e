"""A cluster that takes jobs over HTTP, and jobs submitted to it as a person types it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ray._private.utils import write_ray_address
from ray.job_submission import JobSubmissionClient

from tests.conftest import ROOT
from tests.faults.cluster import SmallCluster, processes_of, small_cluster
from tests.faults.command import Running, started

BIN = Path(sys.executable).parent
"""Of the environment that the tests run in, with its ``ray`` and ``python``."""

HEAD: dict[str, Any] = {
    "num_cpus": 0,  # as the guide says: no work on the head
    "include_dashboard": True,
    "dashboard_host": "127.0.0.1",
    "dashboard_port": 0,  # any that is free
    "dashboard_agent_listen_port": 0,
}

NO_CODE = (".git", ".venv", "__pycache__", ".*_cache", "*.egg-info")


class Series(NamedTuple):
    """A metric with its stage or code, of a process."""

    name: str
    tag: str
    worker: str


@dataclass
class JobServer:
    """Some nodes whose head listens for jobs, on loopback."""

    cluster: SmallCluster
    url: str

    @contextmanager
    def submit(self, name: str, folder: Path, *entrypoint: str) -> Iterator[Running]:
        """``ray job submit``, which follows the log of the job to its end."""
        options = ["--submission-id", name, "--working-dir", str(folder), "--"]
        with started([*self._ray_job("submit"), *options, *entrypoint]) as running:
            yield running

    def ask(self, verb: str, name: str) -> str:
        """What ``ray job status``, ``logs``, ``stop`` or ``delete`` has to say."""
        words = [*self._ray_job(verb), name]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def _ray_job(self, verb: str) -> list[str]:
        return [str(BIN / "ray"), "job", verb, "--address", self.url]

    @cached_property
    def client(self) -> JobSubmissionClient:
        """Sooner than `ask`, which starts a process."""
        return JobSubmissionClient(self.url)

    def status(self, name: str) -> str:
        """Of a job, as ``SUCCEEDED``."""
        return str(self.client.get_job_status(name).value)

    def metrics(self) -> dict[Series, float]:
        """What the agent of the head offers to Prometheus of ours."""
        head: Any = self.cluster.cluster.head_node
        address = f"http://{head.node_ip_address}:{head.metrics_export_port}/metrics"
        with urllib.request.urlopen(address, timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        found = {}
        for sample in (each for family in families for each in family.samples):
            tag = sample.labels.get("stage") or sample.labels.get("code") or ""
            if sample.name.startswith("ray_specray_"):
                found[Series(sample.name, tag, sample.labels["WorkerId"])] = sample.value
        return found

    def wait(self, name: str, seconds: float = 700) -> str:
        """Wait for the end of a job that nobody follows; returns its status."""
        end = time.monotonic() + seconds
        while (status := self.status(name)) in {"PENDING", "RUNNING"}:
            assert time.monotonic() < end, self.client.get_job_logs(name)
            time.sleep(0.2)
        return status


@contextmanager
def job_server() -> Iterator[JobServer]:
    """Start the cluster; at the end nothing of it lives."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PATH", str(BIN), prepend=os.pathsep)  # as in an environment that is activated
        # Ray's 3 seconds, after which it kills what was to stop, are few where tests share cores.
        patch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "300")
        with small_cluster(nullcontext, **HEAD, temp_dir=folder) as cluster:
            # The job server tells its jobs the cluster that is noted here. By default the folder is
            # one for all clusters of this machine, and the latest is noted.
            write_ray_address(cluster.address, folder)
            yield JobServer(cluster, f"http://{cluster.cluster.webui_url}")
            processes = _family(cluster)
        _, alive = psutil.wait_procs([*processes, *_working_in(folder)], 120)
        for process in alive:
            process.kill()
        assert not alive


def _family(cluster: SmallCluster) -> list[psutil.Process]:
    nodes = cluster.cluster.list_all_nodes()
    roots = [process for node in nodes for process in processes_of(node)]
    return roots + [child for root in roots for child in root.children(recursive=True)]


def _working_in(folder: str) -> list[psutil.Process]:
    """Processes that have outlived what started them, such as a driver without its job server."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(folder in word for word in (process.cwd(), *process.cmdline())):
                found.append(process)
    return found


def fresh_clone(folder: Path) -> Path:
    """Copy what a clone of this repository would hold if it were committed as it is now."""
    if not (ROOT / ".git").exists():
        return Path(shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NO_CODE)))
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # not removed since
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder
