"""A run that is stopped, from outside or by its disk, says so in a line and continues later."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from specray.tables import read
from tests.faults.command import (
    COUNT,
    Running,
    assert_same,
    in_process,
    on_our_ray,
    segment,
    shards,
)
from tests.faults.injected import injected
from tests.pipelines.photographs import encode, photograph, write_photographs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


KILL_THE_DRIVER = """
import os, signal, time
os.environ.setdefault("SPECRAY_TEST_DRIVER", str(os.getpid()))  # its workers inherit it

def kill_the_driver():
    os.kill(int(os.environ["SPECRAY_TEST_DRIVER"]), signal.SIGKILL)
    time.sleep(1)

"""

AT_A_RENAME = """
replace = module.Path.replace

def deadly(self, target):
    files = len(list(target.parent.glob("*.parquet")))
    here = target.parent.name == "shards" and files >= {files}
    if here and {before}:
        kill_the_driver()
    replace(self, target)
    if here:
        kill_the_driver()

module.Path.replace = deadly
"""

WAIT_AT_A_RENAME = """
import time
replace = module.Path.replace

def slow(self, target):
    if target.parent.name == "shards" and list(target.parent.glob("*.parquet")):
        time.sleep(3)
    replace(self, target)

module.Path.replace = slow
"""

AT_THE_END = """
write_run = module.write_run

def deadly(store, run):
    here = run["status"] == "finished"
    if here and {before}:
        kill_the_driver()
    write_run(store, run)
    if here:
        kill_the_driver()

module.write_run = deadly
"""

LOCAL, OUTPUT = "specray.sources.stores.local", "specray.pipelines.output"
MOMENTS = {
    "before a shard appears": (LOCAL, AT_A_RENAME.format(files=3, before=True)),
    "between a shard and its receipt": (LOCAL, AT_A_RENAME.format(files=4, before=False)),
    "between the last shard and 'finished'": (OUTPUT, AT_THE_END.format(before=True)),
    "between 'finished' and cleaning": (OUTPUT, AT_THE_END.format(before=False)),
}


def last_line(running: Running) -> str:
    """The one line that says why a command has stopped."""
    *progress, line = running.log.read_text().splitlines()
    assert not any("Traceback" in earlier or "rror:" in earlier for earlier in progress), progress
    return line


def committed(running: Running, output: Path, count: int) -> Callable[[], bool]:
    """A condition: so many shards are there, and the processes of the command are known."""
    return lambda: len(running.family()) > 1 and len(shards(output)) >= count


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_stop_a_run_within_half_a_minute_and_it_continues(
    photographs: Path, calm: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output = tmp_path / "out"
    # commits wait for the signal, which may come late where the machine is busy
    environment = injected(tmp_path / "code", LOCAL, WAIT_AT_A_RENAME)
    with segment(photographs, output, environment=environment) as running:
        assert running.wait_for(committed(running, output, 1))
        start = time.monotonic()
        running.process.send_signal(number)
        assert running.process.wait(30) == code, running.log.read_text()
        _, alive = psutil.wait_procs(running.family(), 30 - (time.monotonic() - start))
        assert not alive
        assert last_line(running) == "specray segment: stopped; the same command continues"
    result = in_process(photographs, output)
    assert result["new_images"] < COUNT
    assert_same(output, calm)


def test_a_driver_killed_at_the_worst_moments_loses_and_repeats_nothing(
    photographs: Path, tmp_path: Path
) -> None:
    source, output, calm = tmp_path / "in", tmp_path / "out", tmp_path / "calm"
    write_photographs(source, 12)
    in_process(source, output)
    old = read(str(output))
    for path in photographs.rglob("*.jpg"):  # beside the old ones, some of which are replaced
        target = source / path.relative_to(photographs)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (source / "a/000.jpg").write_bytes(encode(photograph(200), "JPEG"))
    there = len(shards(output))
    for moment, (module, code) in MOMENTS.items():
        environment = injected(tmp_path / "code", module, KILL_THE_DRIVER + code)
        if module == OUTPUT:  # a fault of the driver alone
            environment |= on_our_ray()
        with segment(source, output, environment=environment) as running:
            running.wait_for(lambda: not running.family(), 240)
            assert running.process.wait() == -signal.SIGKILL, running.log.read_text()
        finished = moment == "between 'finished' and cleaning"
        assert read(str(output)).equals(old) != finished, moment
        assert len(shards(output)) >= there, moment
        there = len(shards(output))
    assert in_process(source, output)["new_images"] == 0
    in_process(source, calm)
    assert_same(output, calm)
    assert {path.name for path in (output / "manifest").iterdir()} == {
        path.name for path in (calm / "manifest").iterdir()
    }


@pytest.fixture
def small_disk(tmp_path: Path, calm: Path) -> Iterator[Path]:
    """A file system with room for half of the shards."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(map(len, shards(calm).values())) // 2
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


def test_a_full_disk_and_a_read_only_one_stop_the_run_with_a_line(
    photographs: Path, calm: Path, small_disk: Path
) -> None:
    output = small_disk / "out"
    with segment(photographs, output, environment=on_our_ray()) as running:
        assert running.process.wait(240) == 2
        assert last_line(running).startswith("specray segment: cannot write 'shards/")
        assert "No space left on device" in last_line(running)
    remount(small_disk, "ro")
    with segment(photographs, output, environment=on_our_ray()) as running:
        assert running.process.wait(60) == 2
        assert "Read-only file system" in last_line(running)
    remount(small_disk, "rw,size=64m")
    assert in_process(photographs, output)["new_images"] < COUNT
    assert_same(output, calm)
