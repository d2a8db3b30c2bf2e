"""What we start ourselves is reached from this machine alone, and leaves nothing behind."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

SESSION = """
import sys
import ray
from specray.pipelines.cluster import ray_session

class Actor:
    def greet(self):
        return "hello"

with ray_session():
    ray.get([ray.remote(lambda i: i).remote(i) for i in range(4)])
    actor = ray.remote(Actor).remote()
    ray.get(actor.greet.remote())
    print("ready", flush=True)
    sys.stdin.read()
"""


def listening(process: psutil.Process) -> list[str]:
    """Addresses of the TCP sockets on which a process waits for connections."""
    with suppress(psutil.NoSuchProcess):
        found = process.net_connections("tcp")
        return [socket.laddr.ip for socket in found if socket.status == psutil.CONN_LISTEN]
    return []


def is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


@pytest.mark.slow
def test_a_session_listens_on_loopback_alone_and_leaves_no_process() -> None:
    # what another session of these tests has set would answer for this one
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = psutil.Popen(
        [sys.executable, "-c", SESSION],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    family: list[psutil.Process] = [process]
    try:
        assert process.stdout.readline() == "ready\n"
        family += process.children(recursive=True)
        addresses = [address for member in family for address in listening(member)]
        names = " ".join(" ".join(member.cmdline()) for member in family[1:])
        assert "gcs_server" in names and "raylet" in names and "ray::" in names
        assert len(addresses) >= 5  # of the GCS, the raylet, its agents and the workers
        assert [address for address in addresses if not is_loopback(address)] == []

        process.stdin.close()
        assert process.wait(60) == 0
        assert psutil.wait_procs(family, 30)[1] == []
    finally:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, 10)
