"""A Ray cluster on this machine that scales itself: Ray's own autoscaler, over nodes that are
processes here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

NODE = {"CPU": 2, "object_store_memory": 100 * 2**20}

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray's name for it."""

SCALED = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}


@dataclass
class GrowingCluster:
    """A head without room for anything, and nodes that come when something waits for them."""

    address: str
    process: psutil.Popen

    @property
    def environment(self) -> dict[str, str]:
        """Of a command that is to join it."""
        return {"RAY_ADDRESS": self.address, **LOOPBACK}

    def nodes_with(self, title: str) -> set[int]:
        """Raylets below which a process has this in its title."""
        found = set()
        for process in self.process.children(recursive=True):
            with suppress(psutil.Error, IndexError):
                if title in process.cmdline()[0]:
                    found.add(process.ppid())
        return found


@contextmanager
def growing_cluster(nodes: int) -> Iterator[GrowingCluster]:
    """Start the cluster, of so many nodes of two CPUs at most; its processes end with the block."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "autoscaling.json")
        settings.write_text(json.dumps(_settings(f"127.0.0.1:{port}", nodes)))
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block"]
        command += ["--num-cpus=0", f"--port={port}", "--include-dashboard=false"]
        command += [f"--object-store-memory={NODE['object_store_memory']}"]
        process = psutil.Popen(
            [*command, f"--autoscaling-config={settings}"],
            env=os.environ | LOOPBACK | SCALED,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, process)
            yield GrowingCluster(f"127.0.0.1:{port}", process)
        finally:
            _end(process)


def _wait_for(port: int, head: psutil.Popen) -> None:
    end = time.monotonic() + 120
    while True:
        assert head.poll() is None and time.monotonic() < end
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        time.sleep(0.2)


def _end(head: psutil.Popen) -> None:
    """Kill the head and all below it; nothing may start more meanwhile."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        head.suspend()
        for process in (family := head.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.suspend()  # the monitor, which starts nodes, before its children are known
        family += head.children(recursive=True)
    for process in (head, *family):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs([head, *family], 30)
    assert not alive


def _settings(address: str, nodes: int) -> dict[str, Any]:
    steps = ("initialization", "setup", "head_setup", "worker_setup")
    lists = [f"{step}_commands" for step in (*steps, "head_start_ray", "worker_start_ray")]
    lists += ["cluster_synced_files", "rsync_exclude", "rsync_filter"]
    return {
        **{name: [] for name in lists},  # the autoscaler wants them all
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        "file_mounts_sync_continuously": False,
        "cluster_name": "growing",
        "max_workers": nodes,
        "upscaling_speed": nodes,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            # nodes here are no machines to log in to
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu": {
                "resources": NODE,
                "node_config": {},
                "min_workers": 0,
                "max_workers": nodes,
            },
        },
    }
