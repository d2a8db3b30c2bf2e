"""A job in a process of its own: the time of its phases, and the memory of its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from specray.errors import UserError

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the processes."""

ROLES: Final = {
    "ray::MapWorker": "actor",
    "ray::_Tally": "tally",
    "ray::DashboardAgent": "agent",
    "ray::RuntimeEnvAgent": "agent",
    "ray::_StatsActor": "service",
    "ray::_AutoscalingCoordinatorActor": "service",
    "ray::": "task",
}
"""How the title of a process begins, and what it does; others that Ray starts are ``ray``."""


def measured_job(
    command: Sequence[str], phases: Mapping[str, str], last: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a job of specray.

    Parameters
    ----------
    command
        Without ``specray``.
    phases
        By their names, what the job says on standard error when one has ended.
    last
        Name of the phase that ends with the job.

    Returns
    -------
    result
        The last line of the job.
    measured
        Seconds of the phases, by the clock and of all CPUs; peak bytes of the driver, of the
        largest worker and of all processes together. Memory is proportional set size: what
        processes share counts once.

    Raises
    ------
    UserError
        psutil is not installed, or the job failed.
    """
    code = f"import sys; from specray.cli import main; sys.exit(main({list(command)!r}))"
    begin = time.monotonic()
    ends: dict[str, tuple[float, float]] = {}

    def note(line: str, watch: Watch) -> None:
        for phase, word in phases.items():
            if word in line:
                ends.setdefault(phase, (time.monotonic() - begin, watch.cpu))

    result, watch = watched(code, note)
    ends[last] = (time.monotonic() - begin, watch.cpu)
    before = [(0.0, 0.0), *ends.values()]
    spans = {
        phase: (wall - earlier[0], cpu - earlier[1])
        for (phase, (wall, cpu)), earlier in zip(ends.items(), before, strict=False)
    }
    return result, {
        **{f"{phase}_s": wall for phase, (wall, _) in spans.items()},
        **{f"{phase}_cpu_s": cpu for phase, (_, cpu) in spans.items()},
        **{f"{name}_peak_bytes": peak for name, peak in watch.peaks.items()},
    }


def watched(
    code: str, note: Callable[[str, Watch], None] | None = None, *, driver_alone: bool = False
) -> tuple[Any, Watch]:
    """Run Python in a new process, and watch it.

    Parameters
    ----------
    code
        What it runs; its last line on standard output is JSON.
    note
        Called with each line that it says on standard error.
    driver_alone
        See `Watch`.

    Returns
    -------
    What the last line says, and what was seen.

    Raises
    ------
    UserError
        psutil is not installed, or the process failed.
    """
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        with Watch(process.pid, driver_alone) as watch:
            for line in process.stderr:
                said.append(line)
                if note is not None:
                    note(line, watch)
            lines = process.stdout.read().splitlines()[-1:]
        if process.wait() != 0:
            raise UserError(f"the job failed: {''.join(said[-30:])}")
    return json.loads(lines[0]), watch


class Look(NamedTuple):
    """What there was at one time."""

    time: float
    """By ``time.monotonic``, which all processes share."""
    cpu: dict[str, float]
    """Seconds so far by role, also of processes that have ended."""
    driver: int
    """Bytes of the driver alone: what it shares changes as other processes come and go."""
    machine: tuple[float, float]
    """Seconds so far in which a core was busy, whoever used it, and of all cores."""


class Watch:
    """Memory and CPU time of a process and of those that it starts, until the block ends.

    Parameters
    ----------
    pid
        Of the driver.
    driver_alone
        Look for the memory of no other process: with dozens of them that takes a good part of a
        core.
    """

    def __init__(self, pid: int, driver_alone: bool = False) -> None:
        self._look = _looker(pid, driver_alone)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._cpu: dict[int, tuple[str, float]] = {}
        self.peaks = dict.fromkeys(("driver", "worker", "together"), 0)
        self.looks: list[Look] = []

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cpu(self) -> float:
        """Seconds so far, also of processes that have ended."""
        return sum(seconds for _, seconds in self._cpu.copy().values())

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            now, found = time.monotonic(), self._look()
            if not found:  # it has ended
                return
            self._cpu |= {process.pid: (process.role, process.cpu) for process in found}
            sizes = {
                "driver": [process.memory for process in found if process.role == "driver"],
                "worker": [process.memory for process in found if process.role in ROLES.values()],
            }
            now_there = {name: max(each, default=0) for name, each in sizes.items()}
            now_there["together"] = sum(process.memory for process in found)
            self.peaks = {name: max(peak, now_there[name]) for name, peak in self.peaks.items()}
            own = sum(process.own for process in found if process.role == "driver")
            self.looks.append(Look(now, self._by_role(), own, _machine()))

    def _by_role(self) -> dict[str, float]:
        cpu = dict.fromkeys(("driver", *ROLES.values(), "ray"), 0.0)
        for role, seconds in self._cpu.values():
            cpu[role] += seconds
        return cpu


class _Seen(NamedTuple):
    pid: int
    role: str
    memory: int
    own: int
    cpu: float


def _looker(pid: int, driver_alone: bool) -> Callable[[], list[_Seen]]:
    """What tells about a process and those that it has started."""
    try:
        import psutil
    except ImportError:
        raise UserError(
            "memory is measured with psutil, which is not here: pip install psutil, or leave out "
            "the parts `label-scale`, `score-scale` and `scale-out`"
        ) from None
    root = psutil.Process(pid)

    def look() -> list[_Seen]:
        found = []
        with suppress(psutil.NoSuchProcess):
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    role = "driver" if process == root else _role("".join(process.cmdline()[:1]))
                    times = process.cpu_times()
                    weigh = role == "driver" or not driver_alone
                    memory, own = _memory(process) if weigh else (0, 0)
                    cpu = times.user + times.system
                    found.append(_Seen(process.pid, role, memory, own, cpu))
        return found

    return look


def _memory(process: Any) -> tuple[int, int]:
    """Bytes, shared ones in proportion, and those of the process alone."""
    found = process.memory_full_info()
    return found.pss, found.uss


def _role(title: str) -> str:
    return next((role for start, role in ROLES.items() if title.startswith(start)), "ray")


def _machine() -> tuple[float, float]:
    import psutil

    times = psutil.cpu_times()
    # guest times are those of user and nice once more
    whole = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)
    return whole - times.idle - getattr(times, "iowait", 0), whole
