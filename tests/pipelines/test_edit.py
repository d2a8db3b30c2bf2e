"""Whole runs of the edit job, on Ray."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from PIL import Image

from specray.backbones import BackboneConfig
from specray.errors import ErrorCode, UserError
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.edit import EditConfig, run_edit
from specray.pipelines.segment import run_segment
from specray.sources import open_store
from specray.tables.reading import read_segments
from specray.tables.schema import EDITS
from tests.conftest import ROOT
from tests.faults.injected import injected
from tests.pipelines.photographs import GOOD, HEIGHT, WIDTH, write_photographs

pytestmark = pytest.mark.usefixtures("ray_cluster")

BROKEN = "b/broken.jpg"


def segment(source: object, output: object, keys: str | None = None, **run: Any) -> dict[str, Any]:
    small: dict[str, Any] = {"shard_size": 6, "batch_size": 3, "num_workers": 1, "device": "cpu"}
    return run_segment(
        SegmentConfig(
            input=str(source),
            output=str(output),
            images=ImageConfig(keys=keys, image_size=192),
            features=BackboneConfig(backbone="descriptor"),
            run=RunConfig(**small | run),
        )
    )


def edit(segments: object, output: object, **options: Any) -> dict[str, Any]:
    """One worker, which takes seconds to start, unless more are asked for."""
    return run_edit(EditConfig(str(segments), str(output), **{"num_workers": 1} | options))


def rows_of(output: object, endpoint: str | None = None) -> pa.Table:
    return pa.concat_tables(read_segments(open_store(str(output), endpoint)))


def pictures_of(output: Path) -> dict[str, str]:
    """Digests of the pictures by name."""
    paths = (path for path in (output / "cutouts").rglob("*") if path.is_file())
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def times_of(output: Path) -> dict[Path, int]:
    paths = (path for path in output.rglob("*") if path.is_file() and path.name != "run.json")
    return {path: path.stat().st_mtime_ns for path in paths}


@dataclass(frozen=True)
class Run:
    """Folders of a segment run."""

    photographs: Path
    segments: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten photographs and a broken one in three shards."""
    folder = tmp_path_factory.mktemp("run")
    write_photographs(folder / "photographs", 10)
    (folder / "photographs" / BROKEN).write_bytes(b"no image")
    found = segment(folder / "photographs", folder / "segments")
    assert (found["images"], found["errors"]) == (11, 1)
    return Run(folder / "photographs", folder / "segments")


@pytest.fixture
def changing(run: Run, tmp_path: Path) -> Iterator[Run]:
    """The run, that may change until the end of a test.

    In its place, because segments belong to the place of their images, and edits to theirs.
    """
    folders = (run.photographs, run.segments)
    for folder in folders:
        shutil.copytree(folder, tmp_path / "before" / folder.name)
    yield run
    for folder in folders:
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "before" / folder.name, folder)


@pytest.fixture(scope="module")
def calm(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed edit."""
    output = tmp_path_factory.mktemp("calm")
    result = edit(run.segments, output)
    assert (result["images"], result["pictures"], result["errors"]) == (11, 10, 1)
    return output


def test_every_image_of_the_segment_table_has_one_row_in_its_order(run: Run, calm: Path) -> None:
    rows, segments = rows_of(calm), rows_of(run.segments)
    assert rows.schema.equals(EDITS)
    for name in ("key", "size", "etag", "width", "height"):
        assert rows[name].equals(segments[name])
    errors = {row["key"]: row["error"] for row in rows.to_pylist() if row["error"]}
    assert list(errors) == [BROKEN]
    assert errors[BROKEN]["stage"] == "decode"
    assert errors[BROKEN]["code"] == "not_an_image"


def test_every_good_row_names_a_picture_of_the_size_of_its_photograph(calm: Path) -> None:
    good = [row for row in rows_of(calm).to_pylist() if row["error"] is None]
    assert {row["file"] for row in good} == pictures_of(calm).keys()
    for row in good:
        picture = Image.open(calm / row["file"])
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (WIDTH, HEIGHT))
        assert 0 < row["coverage"] < 1


def test_run_json_says_how_it_was_made(run: Run, calm: Path) -> None:
    record = json.loads((calm / "run.json").read_text())
    assert (record["job"], record["status"]) == ("edit", "finished")
    assert record["configuration"]["input"] == str(run.segments)
    assert {"pymatting", "numba"} <= record["versions"].keys()
    assert record["result"]["matting_fallbacks"] == 0


def test_the_same_command_again_does_nothing_and_keeps_every_file(run: Run, calm: Path) -> None:
    before = times_of(calm)
    result = edit(run.segments, calm)
    assert (result["images"], result["new_images"]) == (11, 0)
    parts = {path for path in before if path.parent.name == "manifest"}
    assert {p: t for p, t in times_of(calm).items() if p not in parts} == {
        p: t for p, t in before.items() if p not in parts
    }


def test_a_lost_shard_is_the_only_one_that_is_done_again(
    run: Run, calm: Path, tmp_path: Path
) -> None:
    shutil.copytree(calm, tmp_path / "out")
    lost, *_ = sorted((tmp_path / "out" / "shards").iterdir())
    lost.unlink()
    result = edit(run.segments, tmp_path / "out")
    assert 0 < result["new_images"] <= 6
    assert rows_of(tmp_path / "out").equals(rows_of(calm))
    assert pictures_of(tmp_path / "out") == pictures_of(calm)


def test_workers_do_not_change_a_byte(run: Run, calm: Path, tmp_path: Path) -> None:
    edit(run.segments, tmp_path, num_workers=2)
    assert rows_of(tmp_path).equals(rows_of(calm))
    assert pictures_of(tmp_path) == pictures_of(calm)


def test_a_bucket_gets_the_rows_and_pictures_of_a_folder(
    run: Run, calm: Path, s3_server: str, s3_bucket: str
) -> None:
    output = f"s3://{s3_bucket}/out"
    edit(run.segments, output, endpoint=s3_server)
    assert rows_of(output, s3_server).equals(rows_of(calm))
    client = boto3.client("s3", endpoint_url=s3_server)
    for name, digest in pictures_of(calm).items():
        data = client.get_object(Bucket=s3_bucket, Key=f"out/{name}")["Body"].read()
        assert hashlib.sha256(data).hexdigest() == digest


def test_an_image_that_is_gone_or_another_since_is_a_row_that_retry_does_again(
    run: Run, calm: Path, tmp_path: Path
) -> None:
    moved, out = tmp_path / "moved", tmp_path / "out"
    shutil.copytree(run.photographs, moved)
    gone, changed, *_ = sorted(path for path in moved.rglob("*.jpg") if path.stat().st_size > 100)
    gone.unlink()
    changed.write_bytes(GOOD["plain.jpg"])
    result = edit(run.segments, out, images=str(moved))
    assert result["error_codes"] == {"changed": 1, "missing": 1, "not_an_image": 1}
    again = edit(run.segments, out, retry=(ErrorCode.MISSING, ErrorCode.CHANGED))
    assert again["new_images"] == 2
    assert rows_of(out).equals(rows_of(calm))
    assert pictures_of(out) == pictures_of(calm)


@pytest.mark.slow
def test_images_that_got_segments_since_are_done_without_being_asked_for(
    run: Run, calm: Path, tmp_path: Path
) -> None:
    photographs, segments, out = tmp_path / "in", tmp_path / "segments", tmp_path / "out"
    shutil.copytree(run.photographs, photographs)
    (photographs / "b/001.jpg").rename(tmp_path / "aside")
    keys = tmp_path / "keys.csv"  # with ETags, so that the manifest stays the same
    keys.write_text(
        "key,size,etag\n" + "".join(f"{key},1,x\n" for key in rows_of(calm)["key"].to_pylist())
    )
    segment(photographs, segments, keys=str(keys))
    assert edit(segments, out)["error_codes"] == {"missing": 1, "not_an_image": 1}
    (tmp_path / "aside").rename(photographs / "b/001.jpg")
    segment(photographs, segments, keys=str(keys), retry=(ErrorCode.MISSING,))
    result = edit(segments, out)
    assert (result["new_images"], result["error_codes"]) == (1, {"not_an_image": 1})
    assert rows_of(out).equals(rows_of(calm))
    assert pictures_of(out) == pictures_of(calm)


@pytest.mark.slow
def test_pictures_of_images_that_have_gone_go_and_files_of_others_stay(
    changing: Run, calm: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(calm, tmp_path / "out"))
    before = pictures_of(out)
    foreign = out / "cutouts" / "mine.png"
    foreign.write_bytes(b"somebody's own")
    (changing.photographs / "a/000.jpg").unlink()
    segment(changing.photographs, changing.segments)
    result = edit(changing.segments, out)
    assert result["input_changes"]["removed"] == 1
    assert foreign.exists()
    foreign.unlink()
    del before["cutouts/a/000.jpg.png"]
    assert pictures_of(out) == before


def test_another_configuration_is_refused_and_overwrite_replaces_all_of_it(
    run: Run, calm: Path, tmp_path: Path
) -> None:
    shutil.copytree(calm, tmp_path / "out")
    with pytest.raises(UserError, match=r"format: png -> webp.* --output, or pass --overwrite"):
        edit(run.segments, tmp_path / "out", format="webp")
    edit(run.segments, tmp_path / "out", format="webp", background="white", overwrite=True)
    rows = [row for row in rows_of(tmp_path / "out").to_pylist() if row["error"] is None]
    assert {row["file"] for row in rows} == pictures_of(tmp_path / "out").keys()
    picture = Image.open(tmp_path / "out" / rows[0]["file"])
    assert (picture.format, picture.mode) == ("WEBP", "RGB")


def test_wrong_places_and_backgrounds_are_refused_before_anything_is_written(
    run: Run, calm: Path, tmp_path: Path
) -> None:
    before = times_of(run.segments)
    for output, options, message in (
        (run.segments, {}, "lies inside --input"),
        (run.photographs / "out", {}, "lies inside --images"),
        (tmp_path / "out", {"background": "no-such.png"}, "neither transparent, nor a colour"),
        (tmp_path / "out", {"background": str(run.photographs / BROKEN)}, "unknown first bytes"),
    ):
        with pytest.raises(UserError, match=message):
            edit(run.segments, output, **options)
    with pytest.raises(UserError, match="holds no segment run"):
        edit(calm, tmp_path / "out")
    shutil.copytree(run.segments, tmp_path / "copy")
    with pytest.raises(UserError, match="output of another job"):
        edit(tmp_path / "copy", run.segments, overwrite=True)
    assert times_of(run.segments) == before
    assert not (tmp_path / "out").exists()


def test_a_segment_run_that_has_not_finished_or_has_no_objects_is_refused(
    run: Run, tmp_path: Path
) -> None:
    for change, message in (
        ({"status": "running", "finished_manifest": None}, "has not finished"),
        ({"configuration": {"methods": ["regions"]}}, "looked for no objects"),
    ):
        shutil.copytree(run.segments, tmp_path / "segments", dirs_exist_ok=True)
        record = json.loads((run.segments / "run.json").read_text()) | change
        (tmp_path / "segments" / "run.json").write_text(json.dumps(record))
        with pytest.raises(UserError, match=message):
            edit(tmp_path / "segments", tmp_path / "out")


def test_lost_shards_of_the_segment_table_are_a_refusal_of_one_line(
    run: Run, tmp_path: Path
) -> None:
    shutil.copytree(run.segments, tmp_path / "segments")
    next((tmp_path / "segments" / "shards").iterdir()).unlink()
    with pytest.raises(UserError, match=r"1 shards of .* are gone or damaged"):
        edit(tmp_path / "segments", tmp_path / "out")


KILL = """
import os
real = module.EditImage._edited
def _edited(self, place, blob):
    if place["key"] == "a/004.jpg":
        os._exit(9)
    return real(self, place, blob)
module.EditImage._edited = _edited
"""


@pytest.mark.slow
def test_an_image_that_kills_its_process_is_one_row_and_nothing_else_suffers(
    run: Run, calm: Path, tmp_path: Path
) -> None:
    environment = injected(tmp_path / "hook", "specray.pipelines.edit_image", KILL)
    command = [sys.executable, "jobs/edit.py", "--input", str(run.segments), "--num-workers", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out")],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["error_codes"] == {
        "crashed": 1,
        "not_an_image": 1,
    }
    expected = {row["key"]: row for row in rows_of(calm).to_pylist()}
    for row in rows_of(tmp_path / "out").to_pylist():
        if row["key"] == "a/004.jpg":
            assert (row["error"]["code"], row["error"]["stage"]) == ("crashed", "edit")
            assert "exit code 9" in row["error"]["message"]
        else:
            assert row == expected[row["key"]]
