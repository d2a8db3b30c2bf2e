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
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        with _Watch(process.pid) as watch:
            for line in process.stderr:
                said.append(line)
                for phase, word in phases.items():
                    if word in line:
                        ends.setdefault(phase, (time.monotonic() - begin, watch.cpu))
            lines = process.stdout.read().splitlines()[-1:]
        if process.wait() != 0:
            raise UserError(f"the job failed: {''.join(said[-30:])}")
    ends[last] = (time.monotonic() - begin, watch.cpu)
    before = [(0.0, 0.0), *ends.values()]
    spans = {
        phase: (wall - earlier[0], cpu - earlier[1])
        for (phase, (wall, cpu)), earlier in zip(ends.items(), before, strict=False)
    }
    return json.loads(lines[0]), {
        **{f"{phase}_s": wall for phase, (wall, _) in spans.items()},
        **{f"{phase}_cpu_s": cpu for phase, (_, cpu) in spans.items()},
        **{f"{name}_peak_bytes": peak for name, peak in watch.peaks.items()},
    }


class _Watch:
    """Memory and CPU time of a process and of those that it starts, until the block ends."""

    def __init__(self, pid: int) -> None:
        self._look = _looker(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._cpu: dict[int, float] = {}
        self.peaks = dict.fromkeys(("driver", "worker", "together"), 0)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cpu(self) -> float:
        """Seconds so far, also of processes that have ended."""
        return sum(self._cpu.copy().values())

    def _run(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            found = self._look()
            self._cpu |= {process.pid: process.cpu for process in found}
            for name, peak in self.peaks.items():
                sizes = [process.memory for process in found if name in (process.role, "together")]
                now = sum(sizes) if name == "together" else max(sizes, default=0)
                self.peaks[name] = max(peak, now)


class _Seen(NamedTuple):
    pid: int
    role: str
    memory: int
    cpu: float


def _looker(pid: int) -> Callable[[], list[_Seen]]:
    """What tells about a process and those that it has started."""
    try:
        import psutil
    except ImportError:
        raise UserError(
            "memory is measured with psutil, which is not here: pip install psutil, or leave out "
            "the parts `label-scale` and `score-scale`"
        ) from None
    root = psutil.Process(pid)

    def look() -> list[_Seen]:
        found = []
        with suppress(psutil.NoSuchProcess):
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    worker = "".join(process.cmdline()[:1]).startswith("ray::")
                    role = "driver" if process == root else "worker" if worker else "ray"
                    times = process.cpu_times()
                    memory = process.memory_full_info().pss
                    found.append(_Seen(process.pid, role, memory, times.user + times.system))
        return found

    return look
