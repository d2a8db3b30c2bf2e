"""The label job on very many points: the time of its phases, and the memory of its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from specray.errors import UserError
from specray.pipelines.benchmark.labels.synthetic import PER_IMAGE, Mixture, write_segments

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the processes."""

_PHASES: Final = {"read": "clustering ", "fit": " images to do"}
"""What the job says when a phase has ended. The last one, of labelling, ends with the job."""


def scale_rows(
    images: int, dimensions: int, classes: int, fit_points: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Label a synthetic table with every size of the sample, each in a process of its own."""
    mixture = Mixture(dimensions=dimensions)
    with tempfile.TemporaryDirectory() as folder:
        segments = str(Path(folder, "segments"))
        stored = write_segments(segments, images, mixture)
        for count in fit_points:
            output = str(Path(folder, f"labels-{count}"))
            flags = ("--classes", str(classes), "--fit-points", str(count))
            measured = label_measured(segments, output, flags)
            yield {
                "name": f"label, fitted to {min(count, images * PER_IMAGE):,}",
                "images": images,
                "points": images * PER_IMAGE,
                "dimensions": dimensions,
                "segment_bytes": stored,
                **measured,
            }


def label_measured(segments: str, output: str, flags: Sequence[str]) -> dict[str, Any]:
    """Run ``specray label --refine none`` on a segment run.

    Returns
    -------
    Seconds of the phases, by the clock and of all CPUs; peak bytes of the driver, of the largest
    worker and of all processes together. Memory is proportional set size: what processes share
    counts once.

    Raises
    ------
    UserError
        psutil is not installed, or the job failed.
    """
    command = ["label", "--input", segments, "--output", output, "--refine", "none", *flags]
    code = f"import sys; from specray.cli import main; sys.exit(main({command!r}))"
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
                for phase, word in _PHASES.items():
                    if word in line:
                        ends.setdefault(phase, (time.monotonic() - begin, watch.cpu))
            last = process.stdout.read().splitlines()[-1:]
        if process.wait() != 0:
            raise UserError(f"the job failed: {''.join(said[-30:])}")
    result = json.loads(last[0])
    ends["label"] = (time.monotonic() - begin, watch.cpu)
    before = [(0.0, 0.0), *ends.values()]
    phases = {
        phase: (wall - earlier[0], cpu - earlier[1])
        for (phase, (wall, cpu)), earlier in zip(ends.items(), before, strict=False)
    }
    return {
        **{f"{phase}_s": wall for phase, (wall, _) in phases.items()},
        **{f"{phase}_cpu_s": cpu for phase, (_, cpu) in phases.items()},
        "points_per_second": result["points"] / ends["label"][0],
        "label_images_per_second": result["images_per_second"],
        "label_bytes": result["bytes"],
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
            "the part `label-scale`"
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
