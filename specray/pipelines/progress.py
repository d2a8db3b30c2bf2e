"""A progress line with rate and remaining time, on terminals and in log files."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO


def describe(done: int, total: int, errors: int, rate: float, unit: str = "images") -> str:
    """One line on how far it is, at ``rate`` images, or what else is counted, per second.

    Examples
    --------
    >>> describe(50, 200, 1, 5.0)
    '50 / 200 images (25 %), 5.0 images/s, 1 error, 0:00:30 left'
    """
    left = _clock((total - done) / rate) if rate else "-:--:--"
    errors_text = f"{errors} error{'' if errors == 1 else 's'}"
    share = f"{100 * done / total:.0f} %" if total else "100 %"
    return f"{done} / {total} {unit} ({share}), {rate:.1f} {unit}/s, {errors_text}, {left} left"


def _clock(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}"


class Progress:
    """Prints how far a job is until the block ends: in place on a terminal, else line by line.

    Parameters
    ----------
    total
        Images to do.
    read
        Gives images and errors so far; called from another thread.
    stream
        Where to; standard error by default, so that standard output stays for the result.
    unit
        What is counted, if not images.
    """

    def __init__(
        self,
        total: int,
        read: Callable[[], tuple[int, int]],
        stream: TextIO | None = None,
        unit: str = "images",
    ) -> None:
        self._total = total
        self._read = read
        self._stream = stream or sys.stderr
        self._unit = unit
        self._live = self._stream.isatty()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._start = time.monotonic()
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if error is None:
            self._print()
        if self._live:
            self._stream.write("\n")

    def _run(self) -> None:
        while not self._stop.wait(1.0 if self._live else 10.0):
            self._print()

    def _print(self) -> None:
        done, errors = self._read()
        # A batch that ran twice after a death is counted twice here; the result is not.
        rate = self._rate(done)
        line = describe(min(done, self._total), self._total, errors, rate, self._unit)
        self._stream.write(f"\r\x1b[2K{line}" if self._live else f"{line}\n")
        self._stream.flush()

    def _rate(self, done: int) -> float:
        """Images per second since the first ones were seen: start-up tells nothing of the rest."""
        now = time.monotonic()
        if done and self._first is None:
            self._first = done, now
        if self._first is None:
            return 0.0
        images, since = self._first
        if done > images:
            return (done - images) / (now - since)
        return done / (now - self._start)
