"""An export that is killed leaves whole files, and the same command ends it as if nothing was."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from specray.pipelines.export import ExportConfig, run_export
from specray.sources import LocalStore
from tests.faults.command import Running
from tests.pipelines.test_export import files_in, finish
from tests.tables.report_cases import bad_row, good_row

pytestmark = pytest.mark.slow

IMAGES = 480
IN_HAND = 40
"""Images of the parts that are made at a time."""


def started(segments: Path, exported: Path, folder: Path) -> Running:
    """``specray export`` in a process of its own, on a Ray of its own."""
    log = folder / "log"
    code = "import sys\nfrom specray.cli import main\nsys.exit(main(sys.argv[1:]))"
    flags = ["--input", str(segments), "--output", str(exported), "--format", "ids"]
    with log.open("w") as err, log.with_suffix(".out").open("w") as out:
        command = [sys.executable, "-c", code, "export", *flags]
        return Running(psutil.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL), log)


def finished(segments: Path, exported: Path) -> dict[str, bytes]:
    """The files of an export that nobody kills, by this process and its Ray: much sooner."""
    result = run_export(ExportConfig(str(segments), str(exported), "ids"))
    assert (result["images"], result["skipped"]) == (IMAGES, 1)
    return files_in(exported)


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segments")
    rows = [good_row(f"{i:04}.png", seed=i) for i in range(IMAGES)] + [bad_row("bad.png")]
    finish(LocalStore(str(folder)), rows, "in", ["objects"])
    return folder


@pytest.fixture(scope="module")
def calm(
    segments: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None
) -> dict[str, bytes]:
    return finished(segments, tmp_path_factory.mktemp("calm") / "to")


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_what_a_killed_export_leaves_is_whole_and_is_not_made_again(
    share: float, segments: Path, calm: dict[str, bytes], tmp_path: Path
) -> None:
    to = tmp_path / "to"

    def written() -> list[Path]:
        return list(to.glob("ids/[!.]*.png"))

    running = started(segments, to, tmp_path)
    try:
        assert running.wait_for(lambda: len(written()) > share * IMAGES)
        family = running.family()
        running.process.kill()
        psutil.wait_procs(family, 5)  # Ray ends what worked for it; its agents stay, for minutes
    finally:
        running.end()
    left, before = files_in(to), len(written())
    assert before < IMAGES
    assert all(left[name] == calm[name] for name in left.keys() & calm.keys() - {"export.json"})
    assert all(name.startswith(("receipt-", "ids/.specray-")) for name in left.keys() - calm.keys())

    killed = time.time()
    assert finished(segments, to) == calm
    again = sum(path.stat().st_mtime > killed for path in written())
    assert IMAGES - before <= again <= IMAGES - before + IN_HAND
