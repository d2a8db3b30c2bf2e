"""Images that kill, stall or break the process that works on them cost nobody else a row.

No decoder with a suitable bug is at hand, so the processes of the runs here have one put in: a
``sitecustomize`` that all of them load makes Pillow and the engine misbehave on marked images, as
long as they are armed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from specray.pipelines.isolation import ATTEMPTS, SUSPICIOUS
from tests.faults.command import SMALL, assert_same, rows
from tests.pipelines.photographs import encode, photograph

SITECUSTOMIZE = """
import importlib.util, io, os, signal, sys, time
from functools import partial
from pathlib import Path

def misbehave(fault):
    if Path(os.environ["FAULTS"], "armed").exists():
        with Path(os.environ["FAULTS"], "tried").open("a") as file:
            print(fault, os.getpid(), file=file)
        ACTS[fault.partition("-")[2]]()

def fail(error):
    raise error

ACTS = {
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stuck": lambda: time.sleep(1000),
    "memory": lambda: fail(MemoryError("no room")),
    "unforeseen": lambda: fail(type("Unheard", (Exception,), {})("of this")),
}

def spoil_pillow(module):
    module.preinit()  # not on the time of the first image
    real = module.open
    def open(file, *args, **options):
        _, mark, fault = file.getvalue().rpartition(b"FAULT:")
        if mark:
            misbehave(fault.decode())
        return real(file, *args, **options)
    module.open = open

def spoil_engine(module):
    real = module.Engine._segment
    def _segment(self, batch, *args):
        for image in batch:
            if image.key.startswith("segment-"):
                misbehave(image.key.removesuffix(".jpg"))
        return real(self, batch, *args)
    module.Engine._segment = _segment

def hurry(module):
    module.deadline = partial(module.deadline, 3)
    module.each_alone = partial(module.each_alone, seconds=3)

SPOILT = {
    "PIL.Image": spoil_pillow,
    "specray.pipelines.engine": spoil_engine,
    "specray.pipelines.decoding": hurry,
}

class Spoiler:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in SPOILT:
            return None
        spoil = SPOILT.pop(name)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (run(module), spoil(module))
        return spec

sys.meta_path.insert(0, Spoiler)
"""

SESSION = """
import json, sys
from specray.flags import parse
from specray.pipelines.cluster import ray_session
from specray.pipelines.segment import SegmentConfig, run_segment

with ray_session():
    for line in sys.stdin:
        result = run_segment(parse(SegmentConfig, "segment", json.loads(line)))
        print(json.dumps(result), flush=True)
"""

BATCH = 4

ENDS: dict[str, tuple[str, str, str]] = {
    "decode-killed": ("crashed", "decode", "killed by SIGKILL"),
    "decode-memory": ("out_of_memory", "decode", "no room"),
    "decode-segfault": ("crashed", "decode", "killed by SIGSEGV"),
    "decode-stuck": ("crashed", "decode", "no result after 3 seconds"),
    "decode-unforeseen": ("internal", "decode", "Unheard: of this"),
    "segment-memory": ("out_of_memory", "segment", "no room"),
    "segment-segfault": ("crashed", "segment", "killed by SIGSEGV"),
    "segment-unforeseen": ("internal", "segment", "Unheard: of this"),
}
"""What is wrong with an image, to the code and stage of its row and words of its message."""

FATAL = [fault for fault, (code, _, _) in ENDS.items() if code == "crashed"]


@dataclass
class Session:
    """A process with Ray, in which a run takes seconds; its faults can be armed."""

    process: psutil.Popen
    folder: Path

    def run(self, source: Path, output: Path, *options: str) -> dict[str, Any]:
        arguments = ["--input", str(source), "--output", str(output), *SMALL, *options]
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):  # Ray prints what it has to say of dead workers there too
                result: dict[str, Any] = json.loads(line)
                return result
        raise AssertionError((self.folder / "log").read_text()[-4000:])

    def arm(self) -> None:
        (self.folder / "armed").touch()

    def disarm(self) -> None:
        (self.folder / "armed").unlink(missing_ok=True)

    def tried(self) -> Counter[str]:
        """How often each fault struck."""
        lines = (self.folder / "tried").read_text().splitlines()
        return Counter(line.split()[0] for line in lines)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    with (folder / "log").open("w") as log:
        process = psutil.Popen(
            [sys.executable, "-c", SESSION],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"PYTHONPATH": str(folder), "FAULTS": str(folder)},
        )
    try:
        yield Session(process, folder)
    finally:
        family = [process, *process.children(recursive=True)]
        process.stdin.close()
        for member in psutil.wait_procs(family, 10)[1]:
            member.kill()
        psutil.wait_procs(family, 10)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good photographs; some carry the mark of a fault behind their last byte, or in their key."""
    folder = tmp_path_factory.mktemp("images")
    keys = [*ENDS, *(f"good-{i:02}" for i in range(12))]
    for i, key in enumerate(keys):
        mark = b"FAULT:" + key.encode() if key.startswith("decode-") else b""
        (folder / f"{key}.jpg").write_bytes(encode(photograph(i), "JPEG") + mark)
    return folder


@pytest.fixture(scope="module")
def calm(session: Session, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("calm")
    assert session.run(images, output)["errors"] == 0
    return output


@pytest.mark.slow
def test_what_kills_its_process_is_one_row_and_nothing_else_suffers(
    session: Session, images: Path, calm: Path, tmp_path: Path
) -> None:
    session.arm()
    result = session.run(images, tmp_path)

    found = {row["key"].removesuffix(".jpg"): row for row in rows(tmp_path).to_pylist()}
    errors = {key: row["error"] for key, row in found.items() if row["error"]}
    assert {key: (error["code"], error["stage"]) for key, error in errors.items()} == {
        key: (code, stage) for key, (code, stage, _) in ENDS.items()
    }
    for key, (_, _, words) in ENDS.items():
        assert words in errors[key]["message"] and "\n" not in errors[key]["message"]
    for row in rows(calm).to_pylist():
        key = row["key"].removesuffix(".jpg")
        assert key in ENDS or found[key] == row
    assert result["images"] == len(found) == rows(calm).num_rows

    # What is known to kill is left alone; the batch of what is segmented was begun anew each time.
    tried = session.tried()
    too_often = {fault: tried[fault] for fault in FATAL if tried[fault] > SUSPICIOUS + ATTEMPTS}
    assert not too_often
    assert 0 < result["repeated_images"] <= SUSPICIOUS * BATCH

    again = session.run(images, tmp_path)
    assert (again["new_images"], again["errors"]) == (0, len(ENDS))
    assert session.tried() == tried

    session.disarm()
    mended = session.run(images, tmp_path, "--retry", "crashed")
    assert (mended["new_images"], mended["errors"]) == (len(FATAL), len(ENDS) - len(FATAL))
    rest = session.run(images, tmp_path, "--retry", "internal", "out_of_memory")
    assert (rest["new_images"], rest["errors"]) == (len(ENDS) - len(FATAL), 0)
    assert_same(tmp_path, calm)
