"""Jobs as a person types them: commands in processes of their own, which may be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import ray

from specray.backbones import BackboneConfig
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.segment import run_segment
from specray.tables import scan

SMALL = ("--backbone", "descriptor", "--shard-size", "8", "--batch-size", "4", "--num-workers", "1")
"""Settings with which a few small images make many shards."""


COUNT = 64
"""Photographs of the shared input."""


INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""As in a terminal: what a shell starts in the background ignores Ctrl-C, with all its children."""

MAIN = "import sys\nfrom specray.cli import main\nsys.exit(main(sys.argv[1:]))"


@dataclass
class Running:
    """A command under way; its standard error goes to a file, which may be read at any time."""

    process: psutil.Popen
    log: Path
    _known: dict[int, psutil.Process] = field(default_factory=dict)

    def family(self) -> list[psutil.Process]:
        """The processes that the command has started so far and that live, itself first."""
        with suppress(psutil.NoSuchProcess):
            for process in [self.process, *self.process.children(recursive=True)]:
                self._known.setdefault(process.pid, process)
        return [process for process in self._known.values() if process.is_running()]

    @property
    def output(self) -> str:
        """What it has written to its standard output so far."""
        return self.log.with_suffix(".out").read_text()

    def finish(self, seconds: float = 400) -> dict[str, Any]:
        """Wait for a good end; returns the last line of its output."""
        code = self.process.wait(seconds)
        text = self.log.read_text()
        assert code == 0, text[-4000:]
        last = self.output.splitlines()[-1]
        result: dict[str, Any] = json.loads(last)  # before it, Ray may report deaths
        return result

    def wait_for(self, condition: Callable[[], bool], seconds: float = 300) -> bool:
        """Wait until something holds or the command has ended; tells whether it held."""
        asked = time.monotonic()
        end = asked + seconds
        while not (held := condition()) and self.process.poll() is None:
            now = time.monotonic()
            assert now < end, f"it never came to that: {self.log.read_text()[-4000:]}"
            # what takes long to find out is asked less often, or it would cost the command a core
            time.sleep(min(max(0.02, 4 * (now - asked)), 0.2))
            asked = time.monotonic()
        return held

    def end(self) -> None:
        """Leave no process behind, whatever has happened."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(self.family(), 10)


@contextmanager
def segment(
    source: object,
    output: object,
    *options: str,
    script: str | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Running]:
    """Run ``specray segment`` on the descriptor backbone in small shards.

    Parameters
    ----------
    options
        Further flags; a later one wins.
    script
        Python that runs first in the same process, to inject a fault.
    environment
        Variables to set.
    """
    arguments = ["--input", str(source), "--output", str(output), *SMALL, *options]
    with command("segment", *arguments, script=script, environment=environment) as running:
        yield running


@contextmanager
def command(
    job: str,
    *arguments: str,
    script: str | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Running]:
    """Run a job as a person types it; see `segment`."""
    code = f"{INTERRUPTIBLE}{script or ''}\n{MAIN}"
    with started([sys.executable, "-c", code, job, *arguments], environment) as running:
        yield running


@contextmanager
def started(words: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[Running]:
    """Run any command, and end it with the block; see `segment`."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("w") as err, log.with_suffix(".out").open("w") as out:
            process = psutil.Popen(
                words,
                stdout=out,
                stderr=err,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
            )
        running = Running(process, log)
        try:
            yield running
        finally:
            running.end()


def on_our_ray() -> dict[str, str]:
    """Variables with which a command joins the Ray of this process: it starts and ends sooner."""
    return {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}


def run(source: object, output: object, *options: str, **named: Any) -> dict[str, Any]:
    """`segment` to its good end; returns the last line of its output."""
    with segment(source, output, *options, **named) as running:
        return running.finish()


def in_process(source: object, output: object, keys: object = None, **run: Any) -> dict[str, Any]:
    """What `run` does, in this process and on its Ray: much sooner.

    Parameters
    ----------
    keys
        A key list.
    run
        Fields of `RunConfig`.
    """
    small: dict[str, Any] = {"shard_size": 8, "batch_size": 4, "num_workers": 1}
    return run_segment(
        SegmentConfig(
            str(source),
            str(output),
            images=ImageConfig(keys=None if keys is None else str(keys)),
            features=BackboneConfig(backbone="descriptor"),
            run=RunConfig(**small | run),
        )
    )


def shards(output: object) -> dict[str, bytes]:
    """The shard files of a local output, by name."""
    return {path.name: path.read_bytes() for path in Path(str(output), "shards").glob("*.parquet")}


def rows(output: object, endpoint: str | None = None) -> pa.Table:
    """The committed rows of an output."""
    return pa.concat_tables(scan(str(output), endpoint=endpoint))


def assert_same(output: object, calm: object, keys: Sequence[str] | None = None) -> None:
    """Nothing lost, nothing twice, and not a bit different: in the rows and in the files."""
    found, wanted = rows(output), rows(calm)
    assert found["key"].to_pylist() == wanted["key"].to_pylist()
    assert keys is None or found["key"].to_pylist() == list(keys)
    assert found.equals(wanted)
    assert shards(output) == shards(calm)
    assert not list(Path(str(output)).rglob(".specray-*"))
