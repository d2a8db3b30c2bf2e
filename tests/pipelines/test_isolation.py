"""Whatever an item does to its process, the others get their results and the parent lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from specray.errors import UserError
from specray.pipelines.isolation import ATTEMPTS, Died, deadline, each_alone

SECONDS = 30.0
STUCK_SECONDS = 1.0


def half_sent() -> None:
    """Die while a result is on its way, as an out-of-memory killer would have it."""
    frame = sys._getframe()
    while "pipe" not in frame.f_locals:
        assert frame.f_back is not None
        frame = frame.f_back
    os.write(frame.f_locals["pipe"].fileno(), (1000).to_bytes(4, "big") + b"half")
    os._exit(1)


def too_large() -> None:
    import numpy as np

    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    np.empty(int(fields["MemAvailable"].split()[0]) * 1024 * 3 // 4, np.uint8)


FATAL: dict[str, Callable[[], object]] = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "calm exit": lambda: os._exit(0),
    "half sent": half_sent,
    "too large": too_large,
    "raises": lambda: int("no number"),
    "stuck": lambda: time.sleep(600),
}


@dataclass(frozen=True)
class Work:
    """Says which process did what to which item; some items are fatal."""

    folder: Path

    def __call__(self, item: str) -> Any:
        with (self.folder / item).open("a") as file:
            print(os.getpid(), file=file)
        if item in FATAL:
            FATAL[item]()
        if item == "fatal twice" and len(pids(self.folder, item)) < 3:
            os._exit(1)
        if item == "dies later":
            threading.Timer(0.05, os._exit, [1]).start()
        if item == "slow":
            time.sleep(0.3)
        if item == "cannot be sent":
            return lambda: None
        return item.upper()


def pids(folder: Path, item: str) -> list[int]:
    return [int(line) for line in (folder / item).read_text().split()]


def alone(folder: Path, items: list[str], seconds: float = SECONDS) -> list[str | Died]:
    make: Callable[[], Callable[[str], str]] = partial(Work, folder)
    return list(each_alone(make, items, seconds))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Wait until a process has ended."""
    for _ in range(200):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_results_come_in_order_from_one_process_that_ends_with_the_last(tmp_path: Path) -> None:
    assert alone(tmp_path, ["b", "a", "x" * 200, "c"]) == ["B", "A", "X" * 200, "C"]
    (pid,) = {pid for item in "abc" for pid in pids(tmp_path, item)}
    assert pid != os.getpid()
    assert not is_alive(pid)


def test_no_items_have_no_results(tmp_path: Path) -> None:
    assert alone(tmp_path, []) == []


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("killed", "killed by SIGKILL"),
        ("exit", "exit code 7"),
        ("calm exit", "exit code 0"),
        ("half sent", "exit code 1"),
        ("too large", "exit code 1"),
        ("raises", "exit code 1"),
        ("cannot be sent", "exit code 1"),
    ],
)
def test_what_kills_its_processes_is_given_up_after_some_attempts_and_the_others_are_done(
    tmp_path: Path, item: str, reason: str
) -> None:
    assert alone(tmp_path, ["before", item, "after"]) == ["BEFORE", Died(reason), "AFTER"]
    tried = pids(tmp_path, item)
    assert len(tried) == len(set(tried)) == ATTEMPTS
    assert len(pids(tmp_path, "before")) == len(pids(tmp_path, "after")) == 1
    assert not any(is_alive(pid) for pid in tried)


def test_what_is_stuck_is_killed_and_given_up(tmp_path: Path) -> None:
    found = alone(tmp_path, ["stuck", "after"], STUCK_SECONDS)
    assert found == [Died("no result after 1 seconds"), "AFTER"]
    assert len(pids(tmp_path, "stuck")) == ATTEMPTS
    assert not any(is_alive(pid) for pid in pids(tmp_path, "stuck"))


def test_what_kills_now_and_then_gets_its_result_in_a_fresh_process(tmp_path: Path) -> None:
    assert alone(tmp_path, ["fatal twice"]) == ["FATAL TWICE"]
    assert len(set(pids(tmp_path, "fatal twice"))) == 3


def test_a_process_that_dies_of_the_item_before_costs_the_next_nothing(tmp_path: Path) -> None:
    assert alone(tmp_path, ["dies later", "slow"]) == ["DIES LATER", "SLOW"]


def test_an_item_larger_than_any_pipe_is_handed_over_and_back(tmp_path: Path) -> None:
    make: Callable[[], Callable[[bytes], bytes]] = partial(partial, bytes)
    data = os.urandom(2**24)
    assert list(each_alone(make, [data], SECONDS)) == [data]


def test_a_process_ends_when_its_results_are_no_longer_wanted(tmp_path: Path) -> None:
    make: Callable[[], Callable[[str], str]] = partial(Work, tmp_path)
    results = each_alone(make, ["a", "b"], SECONDS)
    next(results)
    (pid,) = pids(tmp_path, "a")
    assert is_alive(pid)
    results.close()  # type: ignore[attr-defined]
    assert not is_alive(pid)


def cannot_be_made() -> Callable[[str], str]:
    raise RuntimeError("no weights")


def test_a_process_that_cannot_start_is_a_user_error_of_one_line() -> None:
    with pytest.raises(UserError, match=r"exit code 1.*--num-workers") as caught:
        list(each_alone(cannot_be_made, ["a"], SECONDS))
    assert "\n" not in str(caught.value)


def script(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


OUT_OF_FILES = """
import os, resource
from specray.errors import UserError
from specray.pipelines.isolation import each_alone

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), 4096))
    try:
        list(each_alone(int, ["1"]))
    except UserError:
        print("refused")
"""


def test_a_system_that_gives_no_process_is_a_user_error() -> None:
    done = script(OUT_OF_FILES)
    assert done.stdout == "refused\n", done.stderr[-300:]


ORPHAN = """
import os, signal, sys
from functools import partial
from pathlib import Path
from specray.pipelines.isolation import each_alone
from tests.pipelines.test_isolation import Work

if __name__ == "__main__":
    next(each_alone(partial(Work, Path(sys.argv[1])), ["a", "b"]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    assert script(ORPHAN, str(tmp_path)).returncode == -signal.SIGKILL
    (pid,) = pids(tmp_path, "a")
    assert ends(pid)


STUCK = """
import ctypes, time
from specray.pipelines.isolation import deadline

with deadline(60):
    pass
try:
    with deadline(0.2):
        raise ValueError
except ValueError:
    pass
time.sleep(0.4)
print("in time", flush=True)
with deadline(0.2):
    ctypes.PyDLL(None).sleep(60)  # holds the lock of the interpreter, as decoders may
print("never")
"""


def test_a_deadline_ends_a_process_that_is_stuck_and_no_other() -> None:
    done = script(STUCK)
    assert done.returncode == 1
    assert done.stdout == "in time\n"
    assert "Timeout" in done.stderr


def test_a_block_that_ends_in_time_is_not_harmed() -> None:
    with deadline(SECONDS):
        found = 1
    assert found
