"""Joining or starting Ray, and its settings for all passes."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray._private import ray_constants
from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

from specray.errors import UserError
from specray.pipelines.block_stats import ForgetBlocks

_STARTED: Final[set[str]] = set()
"""Addresses of what `start_local` has started."""

CPU_LIMIT: Final = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU, and of the clock in which they may be used (cgroup v2)."""

REACHED_SECONDS: Final = 10
"""In which a cluster must answer that is to be joined."""


@contextmanager
def ray_session() -> Iterator[None]:
    """Use the cluster of RAY_ADDRESS or of this process, else start Ray on this machine.

    What is started here listens on loopback only and is stopped at the end.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray reports every actor pool as an error of its own making (ray issue 57733).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray").setLevel(logging.ERROR)
    on_terminate = signal.getsignal(signal.SIGTERM)
    if address := os.environ.get("RAY_ADDRESS"):
        check_reachable(address)
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False)
        except ConnectionError as error:
            raise _no_cluster(address, error) from None
    else:
        start_local(cores() + 1)
    if callable(on_terminate):  # Ray has put its own in its place, which says nothing
        signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield
    finally:
        ray.shutdown()


def check_reachable(address: str) -> None:
    """Refuse an address at which nobody answers: Ray would try it for many minutes.

    Raises
    ------
    UserError
        It is HOST:PORT, and there is nothing.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), REACHED_SECONDS).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


def _no_cluster(address: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:200]
    return UserError(
        f"there is no Ray cluster at {address} ({reason}); check --address, or RAY_ADDRESS"
    )


def start_local(num_cpus: int, **options: Any) -> None:
    """Start Ray on this machine, reachable from this machine alone.

    Parameters
    ----------
    num_cpus
        Logical CPUs. One more than there are cores is good: the actors take the cores, the light
        tasks around them (listing, decoding, committing) still find a place.
    options
        Further ones of ``ray.init``.
    """
    # The one switch that binds all of Ray's servers to loopback; its constant was read on import.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    ray.init(
        address="local",
        num_cpus=num_cpus,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
        **options,
    )
    _STARTED.add(ray.get_runtime_context().gcs_address)


def nodes_may_come() -> bool:
    """Whether this is a cluster that others can join: not the Ray that `start_local` started."""
    return ray.get_runtime_context().gcs_address not in _STARTED


def cores() -> int:
    """CPU cores that this process may use: those it may run on, within its container's limit."""
    if not hasattr(os, "sched_getaffinity"):  # macOS
        return os.cpu_count() or 1
    mine = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_LIMIT.read_text().split()
        return max(1, min(mine, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a limit: "max 100000"
        return mine


def data_context(*callbacks: type[ExecutionCallback]) -> DataContext:
    """Ray Data's settings for the pass: everything in order, nothing on the screen."""
    context: DataContext = DataContext.get_current().copy()
    # Rows come out in the order of the manifest, so that a shard is a run of consecutive rows.
    context.execution_options.preserve_order = True
    # A batch of decoded images stays one block, also of large ones at their full size.
    context.target_max_block_size = 2**33
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes.extend([ForgetBlocks, *callbacks])
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return context
