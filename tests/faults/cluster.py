"""A Ray cluster of several nodes on this machine, whose processes may be killed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from ray.cluster_utils import Cluster

NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 100 * 2**20}

AGENTS = ("DashboardAgent", "RuntimeEnvAgent")
"""Their death takes their raylet along: that is the loss of a node, not of a worker."""


@dataclass
class SmallCluster:
    """A head without room for actors, where drivers live, and two nodes that come and go."""

    cluster: Cluster
    nodes: list[Any]

    @property
    def address(self) -> str:
        """For RAY_ADDRESS."""
        return str(self.cluster.address)

    def workers(self, wanted: Callable[[str], bool]) -> list[psutil.Process]:
        """Worker processes whose title is wanted, such as ``ray::MapBatches(Decode)``."""
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                title = process.cmdline()[0]
            except (psutil.Error, IndexError):
                continue
            if title.startswith("ray::") and not any(a in title for a in AGENTS) and wanted(title):
                found.append(process)
        return found

    def kill_worker(self, rng: random.Random) -> int:
        """Kill a process that runs or has run a task."""
        return _kill(rng, self.workers(lambda title: "MapWorker" not in title))

    def kill_actor(self, rng: random.Random) -> int:
        """Kill a process that holds a backbone."""
        return _kill(rng, self.workers(lambda title: "MapWorker" in title))

    def remove_node(self, rng: random.Random) -> int:
        """Take a node away at once, with all its processes."""
        node = self.nodes.pop(rng.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        return 1 + int(NODE["num_cpus"])

    def mend(self) -> None:
        """Bring back the nodes that were removed."""
        while len(self.nodes) < 2:
            self.nodes.append(self.cluster.add_node(**NODE))
        self.cluster.wait_for_nodes()


def _kill(rng: random.Random, processes: list[psutil.Process]) -> int:
    if not processes:
        return 0
    rng.choice(sorted(processes, key=lambda process: process.pid)).kill()
    return 1


@contextmanager
def small_cluster() -> Iterator[SmallCluster]:
    """Start the cluster; its processes see the environment of this one."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    head = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(**NODE) for _ in range(2)]
        cluster.wait_for_nodes()
        yield SmallCluster(cluster, nodes)
    finally:
        cluster.shutdown()
