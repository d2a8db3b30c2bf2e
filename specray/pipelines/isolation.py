"""Finding the input that kills: one item at a time, in a process that may die.

Decoders are C and images are strangers: a segmentation fault or an allocation without end takes
the whole worker, with all it was working on. Ray starts the worker again and hands it the same
work, for ever. So work whose workers keep dying is done here: the parent survives and knows which
item was in hand.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from specray.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

SUSPICIOUS: Final = 2
"""Deaths of a batch from which on its items are worked on alone. A node that is lost and a worker
that is killed from outside leave deaths too; they cost a retry, not this."""

ATTEMPTS: Final = 3
"""Processes that an item may kill, alone, before it is given up."""

SECONDS: Final = 1800
"""What one image may take before its process counts as stuck."""

_SPAWN = multiprocessing.get_context("spawn")  # a worker has threads, which a fork would break


@dataclass(frozen=True)
class Died:
    """An item that ended its process, `ATTEMPTS` times."""

    reason: str


def each_alone(
    make: Callable[[], Callable[[T], R]], items: Sequence[T], seconds: float = SECONDS
) -> Iterator[R | Died]:
    """Apply a function to items in another process; what kills it becomes `Died`.

    Parameters
    ----------
    make
        Makes the function, once per process; picklable, like items and results.
    items
        What to apply it to, in order.
    seconds
        Time for one item.

    Raises
    ------
    UserError
        The process does not even start.
    """
    child: _Child[T, R] | None = None
    try:
        for item in items:
            for _ in range(ATTEMPTS):
                child = child or _Child(make)
                result = child.apply(item, seconds)
                if not isinstance(result, Died):
                    break
                child.close()
                child = None
            yield result
    finally:
        if child is not None:
            child.close()


@contextmanager
def deadline(seconds: float = SECONDS) -> Iterator[None]:
    """End this process if the block takes longer: being stuck is a way of dying that Ray sees."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class _Child(Generic[T, R]):
    """A process that applies a function; it ends with its parent, whose pipe it reads."""

    def __init__(self, make: Callable[[], Callable[[T], R]]) -> None:
        try:
            self._pipe, theirs = _SPAWN.Pipe()
            self._process = _SPAWN.Process(target=_serve, args=(make, theirs), daemon=True)
            self._process.start()
        except OSError as error:
            raise _cannot_start(str(error.strerror)) from None
        theirs.close()
        if isinstance(ready := self._receive(SECONDS), Died):
            self.close()
            raise _cannot_start(ready.reason)

    def apply(self, item: T, seconds: float) -> R | Died:
        with suppress(OSError):  # it died before; receiving says of what
            self._pipe.send(item)
        result: R | Died = self._receive(seconds)
        return result

    def close(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def _receive(self, seconds: float) -> Any:
        try:
            if not self._pipe.poll(seconds):
                return Died(f"no result after {seconds:g} seconds")
            return self._pipe.recv()
        except (EOFError, OSError):  # also in the middle of a result
            self._process.join()
            return Died(_describe(self._process.exitcode or 0))


def _serve(make: Callable[[], Callable[[T], R]], pipe: Connection) -> None:
    _limit_memory()
    work = make()
    pipe.send(None)
    with suppress(EOFError, BrokenPipeError):  # the parent is gone, or has no more
        while True:
            item = pipe.recv()
            # should the parent be killed while this one is stuck; a parent that lives is sooner
            with deadline(2 * SECONDS):
                result = work(item)
            pipe.send(result)


def _limit_memory() -> None:
    """Half of what is free: this process shall fail before the machine does."""
    with suppress(OSError, ValueError):  # where there is no such file or limit
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        half = int(fields["MemAvailable"].split()[0]) * 1024 // 2
        resource.setrlimit(resource.RLIMIT_DATA, (half, half))


def _cannot_start(reason: str) -> UserError:
    return UserError(
        f"a worker cannot start a process of its own ({reason}); if the machine is short of memory,"
        " lower --num-workers; the same command continues"
    )


def _describe(exitcode: int) -> str:
    if exitcode < 0:
        return f"killed by {signal.Signals(-exitcode).name}"
    return f"exit code {exitcode}"
