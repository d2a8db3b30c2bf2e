"""Cut-outs in the report: whose they are, which are shown, and what is said of the others."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from specray.errors import ErrorCode, UserError
from specray.pipelines.report import ReportConfig, run_report
from specray.sources import Blob, LocalStore, open_store
from specray.tables.report import build_report
from specray.tables.rows import Row
from tests.tables.report_cases import (
    HEIGHT,
    WIDTH,
    bad_row,
    cutout,
    edited,
    good_row,
    make_edits,
    make_output,
    not_edited,
    photographed,
    read_page,
    report_files,
)


@pytest.fixture
def source(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "photos"))


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "out"))


@pytest.fixture
def edits(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "edits"))


def make_good(output: LocalStore, count: int) -> list[Row]:
    """A segment run of good rows."""
    rows = [good_row(f"{i}.png", etag=f"{i}", seed=i) for i in range(count)]
    make_output(output, rows)
    return rows


def test_cut_outs_are_shown_and_counted(
    source: LocalStore, output: LocalStore, edits: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", i) for i in range(5)]
    bad = bad_row("bad.jpg")
    make_output(output, [*rows, bad])
    made = [edited(edits, row, cutout(i), fallback=i == 1) for i, row in enumerate(rows[:3])]
    made += [not_edited(row, ErrorCode.NO_OBJECT, "it is <b>all</b>") for row in rows[3:]]
    make_edits(edits, [*made, bad])

    summary = build_report(output, source, samples=48, edits=edits)
    page = read_page(output)
    assert summary.cutouts == 3
    shown = {f"Cut-out of the object of {row['key']}" for row in rows[:3]}
    assert {alt for alt in page.values("alt") if "Cut-out" in alt} == shown
    assert page.text.count("No cut-out no_object: it is <b>all</b> cut-out") == 2
    size = sum(row["file_size"] for row in made[:3]) / 1000
    figures = f"cut-outs 3 of 5 images matting fallbacks 1 size {size:.1f} kB no_object 2 Errors"
    assert figures in page.text
    assert "#cutouts" in page.values("href")
    names = {f"report/{name}" for name in page.values("src")}
    assert names == report_files(output).keys() - {"report/index.html"}


def test_a_cut_out_keeps_its_transparency_and_has_the_size_of_the_other_pictures(
    source: LocalStore, output: LocalStore, edits: LocalStore
) -> None:
    (row,) = make_good(output, 1)
    make_edits(edits, [edited(edits, row, cutout(0))])
    build_report(output, source, samples=1, edits=edits)
    (name,) = (name for name in report_files(output) if name.endswith("cutout.webp"))
    with Image.open(io.BytesIO(report_files(output)[name])) as picture:
        alpha = np.asarray(picture)[..., 3]
    assert alpha.shape == (HEIGHT, WIDTH)
    assert (alpha[:, : WIDTH // 2] == 255).all() and (alpha[:, WIDTH // 2 :] == 0).all()


def test_a_cut_out_on_a_colour_is_shown_as_it_is(
    source: LocalStore, output: LocalStore, edits: LocalStore
) -> None:
    (row,) = make_good(output, 1)
    configuration = {"input": "out", "objects": "all", "background": "</bdi>white"}
    make_edits(edits, [edited(edits, row, cutout(0, "RGB"))], configuration=configuration)
    assert build_report(output, source, samples=1, edits=edits).cutouts == 1
    assert "of all objects of each image; background: </bdi>white" in read_page(output).text


@pytest.mark.parametrize("damage", [cutout(0)[:300], b"", b"GIF89a", cutout(0, "L"), None])
def test_a_cut_out_that_is_gone_or_no_picture_any_more_is_shown_as_such(
    source: LocalStore, output: LocalStore, edits: LocalStore, damage: bytes | None
) -> None:
    (row,) = make_good(output, 1)
    made = edited(edits, row, cutout(0))
    make_edits(edits, [made])
    if damage is None:
        edits.delete(made["file"])
    else:
        edits.write(made["file"], damage)
    assert build_report(output, source, samples=1, edits=edits).cutouts == 0
    assert "No cut-out cutouts/0.png.png: " in read_page(output).text


def test_the_cut_out_of_an_image_that_has_changed_since_is_not_shown(
    source: LocalStore, output: LocalStore, edits: LocalStore
) -> None:
    rows = make_good(output, 2)
    made = [edited(edits, row, cutout(0)) for row in rows]
    make_edits(edits, [made[0], made[1] | {"etag": "other"}])
    assert build_report(output, source, samples=2, edits=edits).cutouts == 1
    assert "No cut-out the image is new, or has changed, since specray" in read_page(output).text


@pytest.mark.parametrize("missing", ["an image", "the end"])
def test_cut_outs_of_another_state_of_the_run_are_said_to_be_so(
    source: LocalStore, output: LocalStore, edits: LocalStore, missing: str
) -> None:
    rows = make_good(output, 3)
    made = [edited(edits, row, cutout(0)) for row in rows]
    if missing == "an image":
        make_edits(edits, made[:2])
    else:
        make_edits(edits, made, status="running")
    notice = "The cut-outs are not those of this state of the run."
    build_report(output, source, samples=3, edits=edits)
    assert notice in read_page(output).text

    make_edits(edits, made)
    build_report(output, source, samples=3, edits=edits)
    assert notice not in read_page(output).text


def test_edits_that_are_none_are_refused_before_anything_is_written(
    source: LocalStore, output: LocalStore, edits: LocalStore
) -> None:
    rows = make_good(output, 1)
    with pytest.raises(UserError, match=r"edits holds no cut-outs; run specray edit first"):
        build_report(output, source, samples=1, edits=edits)
    with pytest.raises(UserError, match=r"out holds no cut-outs; run specray edit first"):
        build_report(output, source, samples=1, edits=output)
    make_edits(edits, [edited(edits, rows[0], cutout(0))], decisive={"segments": "0" * 64})
    with pytest.raises(UserError, match="are of another run") as caught:
        build_report(output, source, samples=1, edits=edits)
    assert "\n" not in str(caught.value)
    assert report_files(output) == {}


@dataclass(frozen=True)
class Watched(LocalStore):
    """A folder that knows what was read."""

    reads: list[str] = field(default_factory=list)

    def read(self, key: str) -> Blob:
        self.reads.append(key)
        return super().read(key)


def test_no_picture_is_read_but_those_of_the_sample(
    source: LocalStore, output: LocalStore, edits: LocalStore
) -> None:
    rows = make_good(output, 60)
    make_edits(edits, [edited(edits, row, cutout(0)) for row in rows])
    watched = Watched(edits.root)
    assert build_report(output, source, samples=4, edits=watched).cutouts == 4
    assert sum(key.startswith("cutouts/") for key in watched.reads) == 4


def test_the_same_cut_outs_give_the_same_bytes(
    source: LocalStore, output: LocalStore, edits: LocalStore
) -> None:
    rows = make_good(output, 20)
    make_edits(edits, [edited(edits, row, cutout(i)) for i, row in enumerate(rows)])
    build_report(output, source, samples=3, edits=edits)
    first = report_files(output)
    build_report(output, source, samples=3, edits=edits)
    assert report_files(output) == first


def test_the_job_takes_the_cut_outs_from_a_bucket(
    source: LocalStore, s3_server: str, s3_bucket: str
) -> None:
    output = open_store(f"s3://{s3_bucket}/out", s3_server)
    edits = open_store(f"s3://{s3_bucket}/edits", s3_server)
    row = photographed(source, "a.png")
    make_output(output, [row], source.uri)
    make_edits(edits, [edited(edits, row, cutout(0))])
    result = run_report(ReportConfig(output.uri, edits=edits.uri, endpoint=s3_server))
    assert (result["cutouts"], result["unavailable"]) == (1, 0)


def test_a_report_on_the_output_of_an_edit_is_refused(edits: LocalStore) -> None:
    make_edits(edits, [])
    with pytest.raises(UserError, match="was written by specray edit, not specray segment"):
        run_report(ReportConfig(edits.uri))
