"""A Ray cluster of several nodes on this machine, whose processes may be killed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from tests.forking import forking

NODE: dict[str, Any] = {"num_cpus": 2, "object_store_memory": 100 * 2**20}

AGENTS = ("DashboardAgent", "RuntimeEnvAgent")
"""Their death takes their raylet along: that is the loss of a node, not of a worker."""


@dataclass
class SmallCluster:
    """A head without room for actors, where drivers live, and two nodes that come and go."""

    cluster: Cluster
    starting: Callable[[], AbstractContextManager[None]]
    """Nodes are started in it."""
    nodes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        """For RAY_ADDRESS."""
        return str(self.cluster.address)

    def workers(
        self, wanted: Callable[[str], bool], node: Any | None = None
    ) -> list[psutil.Process]:
        """Worker processes whose title is wanted, such as ``ray::MapBatches(Decode)``.

        Those of a node, or of all that this process has started.
        """
        roots = [psutil.Process()] if node is None else processes_of(node)
        found = []
        for process in (child for root in roots for child in root.children(recursive=True)):
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
        self.lose_node(self.nodes[rng.randrange(len(self.nodes))])
        return 1 + int(NODE["num_cpus"])

    def lose_node(self, node: Any) -> None:
        """Take this node away at once."""
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def add_node(self) -> Any:
        """Have another node join."""
        with self.starting():
            self.nodes.append(self.cluster.add_node(**NODE))
        self.cluster.wait_for_nodes()
        return self.nodes[-1]

    def mend(self) -> None:
        """Bring back the nodes that were removed."""
        while len(self.nodes) < 2:
            self.add_node()


def processes_of(node: Any) -> list[psutil.Process]:
    """What Ray has started for a node: the raylet, and on the head its servers."""
    pids = [info.process.pid for infos in node.all_processes.values() for info in infos]
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]


def _kill(rng: random.Random, processes: list[psutil.Process]) -> int:
    if not processes:
        return 0
    rng.choice(sorted(processes, key=lambda process: process.pid)).kill()
    return 1


@contextmanager
def small_cluster(
    starting: Callable[[], AbstractContextManager[None]] = forking, **head: Any
) -> Iterator[SmallCluster]:
    """Start the cluster; its processes see the environment of this one.

    Parameters
    ----------
    starting
        See `SmallCluster`; by default workers are forked.
    head
        Further options of the head's `Cluster.add_node`.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    usual = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    with starting():
        cluster = SmallCluster(Cluster(True, head_node_args=usual | head), starting)
    try:
        cluster.mend()
        yield cluster
    finally:
        cluster.cluster.shutdown()
