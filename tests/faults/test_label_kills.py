"""Kill the label job, or spoil its store: the same command ends with the rows of a calm run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from specray.flags import parse
from specray.pipelines.labels.config import LabelConfig
from specray.pipelines.labels.job import CODEBOOK, run_label
from tests.conftest import ROOT
from tests.faults.command import Running, assert_same, in_process, on_our_ray, rows, shards
from tests.faults.injected import injected
from tests.faults.proxy import faulty_s3
from tests.pipelines.photographs import write_photographs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

OPTIONS = ("--classes", "4", "--restarts", "2", "--num-workers", "1")
IMAGES = 32


@dataclass(frozen=True)
class Calm:
    """Photographs, their segments, and the labels that an undisturbed command gives them."""

    photographs: Path
    segments: Path
    labels: Path


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Calm:
    folder = tmp_path_factory.mktemp("label")
    found = Calm(folder / "photographs", folder / "segments", folder / "labels")
    write_photographs(found.photographs, IMAGES)
    in_process(found.photographs, found.segments)
    result = label(found.segments, found.labels)
    assert (result["images"], result["errors"]) == (IMAGES, 0) and result["shards"] > 2
    return found


def label(segments: object, output: object, *options: str) -> dict[str, Any]:
    """The command in this process and on its Ray: much sooner."""
    flags = ["--input", str(segments), "--output", str(output), *OPTIONS, *options]
    return run_label(parse(LabelConfig, "label", flags))


@contextmanager
def command(segments: Path, output: Path, environment: dict[str, str]) -> Iterator[Running]:
    """The same command as a process of its own, with Ray and all that it starts."""
    flags = ["--input", str(segments), "--output", str(output), *OPTIONS]
    log = output.with_suffix(".log")
    with log.open("w") as err, log.with_suffix(".out").open("w") as out:
        process = psutil.Popen(
            [sys.executable, "jobs/label.py", *flags],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    running = Running(process, log)
    try:
        yield running
    finally:
        running.end()


KILLED_BEHIND_ITS_CLAIM = """
import os, signal
begin = module.Output.begin
def claimed(self):
    begin(self)
    os.kill(os.getpid(), signal.SIGKILL)
module.Output.begin = claimed
"""

KILLED_WITH_A_WORKER = """
import os, pathlib, signal
from specray.pipelines import ledger

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

label = module.Label.__call__
def labelled(self, places):
    struck = pathlib.Path({marker!r})
    if not struck.exists():
        struck.touch()
        kill()
    return label(self, places)
module.Label.__call__ = labelled

receipts = ledger._receipts
def some(graph):
    for place, receipt in enumerate(receipts(graph)):
        if place == 1:
            kill()
        yield receipt
ledger._receipts = some
"""
"""A worker dies of its first batch, the driver of its second shard."""

FATAL = "a/004.jpg"

KILLED_BY_AN_IMAGE = f"""
import os
refine = module.RefineMap.__call__
def refined(self, row, blob):
    if row["key"] == {FATAL!r}:
        os._exit(9)
    return refine(self, row, blob)
module.RefineMap.__call__ = refined
"""


def killed(
    calm: Calm, output: Path, module: str, code: str, ray: dict[str, str] | None = None
) -> None:
    """The command, until the fault kills it; on a Ray of its own if it is not given one."""
    environment = injected(output.with_name("hook"), module, code) | (ray or {})
    with command(calm.segments, output, environment) as running:
        running.wait_for(lambda: not running.family())  # so that none of them stays
        assert running.process.wait(1) == -signal.SIGKILL, running.log.read_text()[-4000:]


def ends_as_calm(calm: Calm, output: Path) -> dict[str, Any]:
    """The same command once more."""
    result = label(calm.segments, output)
    assert_same(output, calm.labels)
    assert (output / CODEBOOK).read_bytes() == (calm.labels / CODEBOOK).read_bytes()
    return result


def test_killed_with_a_record_but_no_classes_it_finds_the_same_classes(
    calm: Calm, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    killed(calm, output, "specray.pipelines.output", KILLED_BEHIND_ITS_CLAIM, on_our_ray())
    assert (output / "run.json").exists() and not (output / CODEBOOK).exists()
    assert ends_as_calm(calm, output)["new_images"] == IMAGES


def test_killed_while_it_labels_it_goes_on_by_the_classes_that_are_there(
    calm: Calm, tmp_path: Path
) -> None:
    output, marker = tmp_path / "out", tmp_path / "worker"
    code = KILLED_WITH_A_WORKER.format(marker=str(marker))
    killed(calm, output, "specray.pipelines.labels.labelling", code)
    assert marker.exists() and len(shards(output)) >= 2
    assert ends_as_calm(calm, output)["new_images"] < IMAGES


def test_an_image_that_kills_its_process_is_one_row_and_nothing_else_suffers(
    calm: Calm, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    environment = injected(
        tmp_path / "hook", "specray.pipelines.labels.labeller", KILLED_BY_AN_IMAGE
    )
    with command(calm.segments, output, environment) as running:
        assert running.finish()["error_codes"] == {"crashed": 1}
    expected = {row["key"]: row for row in rows(calm.labels).to_pylist()}
    for row in rows(output).to_pylist():
        if row["key"] == FATAL:
            error = row.pop("error")
            assert (error["code"], error["stage"]) == ("crashed", "label")
            assert "exit code 9" in error["message"]
            assert row["segments"] is None and row["points"] is None
        else:
            assert row == expected[row["key"]]
    result = label(calm.segments, output, "--retry", "crashed")
    assert (result["new_images"], result["errors"]) == (1, 0)
    assert_same(output, calm.labels)


def test_a_fifth_of_all_operations_fails_and_the_rows_are_those_of_a_calm_run(
    calm: Calm, s3_server: str, s3_bucket: str
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    for path in calm.photographs.rglob("*.jpg"):
        key = f"in/{path.relative_to(calm.photographs).as_posix()}"
        client.put_object(Bucket=s3_bucket, Key=key, Body=path.read_bytes())
    source, segments, output = (f"s3://{s3_bucket}/{name}" for name in ("in", "segments", "out"))
    in_process(source, segments, endpoint=s3_server, shard_size=4)  # more operations that may fail
    with faulty_s3(s3_server, seed=0, rate=0.2) as proxy:
        result = label(segments, output, "--endpoint", proxy.url)
        assert (result["images"], result["errors"]) == (IMAGES, 0)
        assert len(proxy.injected) > 3 and sum(proxy.injected.values()) > 10
        again = label(segments, output, "--endpoint", proxy.url)
        assert (again["images"], again["new_images"]) == (IMAGES, 0)
    assert rows(output, s3_server).equals(rows(calm.labels))
    stored = client.get_object(Bucket=s3_bucket, Key=f"out/{CODEBOOK}")["Body"].read()
    assert stored == (calm.labels / CODEBOOK).read_bytes()
