"""The report on classes as a whole: what it promises to the people who open it."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from specray.errors import ErrorCode, UserError
from specray.pipelines.report import ReportConfig, run_report
from specray.sources import Blob, LocalStore
from specray.tables.commit import list_shards
from specray.tables.report import build_label_report
from specray.tables.run import read_run, write_run
from tests.tables.report.classes.cases import (
    class_entry,
    clustering,
    commit,
    label_row,
    make_output,
    photographed,
)
from tests.tables.report_cases import bad_row, photograph, read_page, report_files
from tests.tables.test_report import HOSTILE

IDS = (0, 3, 4)


@pytest.fixture
def source(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "photos"))


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "it's out"))


def classes(**changes: Any) -> dict[str, Any]:
    medoid = {"key": "1.png", "index": 2, "bbox": None}
    entries = [class_entry(0, name="road"), class_entry(3, medoid=medoid), class_entry(4)]
    return clustering(entries, **changes)


def test_a_report_shows_the_classes_and_how_they_were_made(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", IDS, seed=i) for i in range(12)]
    rows[1]["points"][2]["class"] = 3
    rows += [bad_row("bad.jpg", ErrorCode.CORRUPT, "scrambled eggs")]
    curve = [
        {"classes": k, "inertia": 0.5, "silhouette": 0.3, "stability": 0.9, "stability_sd": 0.1}
        for k in (2, 3, 4)
    ]
    made = classes(curve=curve, choice="Three, for it is the most stable.")
    make_output(output, rows, made, source.uri)
    summary = build_label_report(output, source, samples=48, segmented=read_run(segments(output)))
    page = read_page(output)

    counts = (summary.images, summary.errors, summary.classes, summary.samples)
    assert counts == (13, 1, 3, 12)
    assert (summary.photographs, summary.unavailable) == (12, 0)
    tiles = (
        "images 13 classes 3 points 54,321 of these fitted 43,210 stability 0.62 silhouette 0.38"
    )
    assert f"{tiles} errors 1 7.7 %" in page.text
    assert page.text.count("Three, for it is the most stable.") == 2
    labels = page.values("aria-label")
    for chart in ("Stability", "Silhouette", "Inertia"):
        assert any(label.startswith(f"{chart} for 2 to 4 classes; 3 were") for label in labels)
    assert "Dendrogram of the classes" in labels
    for name in ("road", "class 3", "class 4"):
        for strip in ("at random", "most certain", "least certain"):
            shown = [alt for alt in page.values("alt") if alt.startswith(f"{name}, {strip}: ")]
            assert len(shown) == len(set(shown)) == 7
    assert "class 3, medoid: 1.png" in page.values("alt")
    assert "fitted points 997" in page.text and "radius 0.25" in page.text
    assert {f"{kind} {i}.png" for i in range(12) for kind in ("Photograph", "Classes of")} <= set(
        page.values("alt")
    )
    assert "All 12 labelled images, none left out" in page.text
    assert "bad.jpg decode: scrambled eggs" in page.text
    for fact in ("vit_of_the_test", "9.8.7", "0.1234, 0.2345", "spherical, seed 0"):
        assert fact in page.text


def segments(output: LocalStore) -> LocalStore:
    return LocalStore(f"{output.uri}-segments")


def test_a_run_of_a_given_number_of_classes_has_no_curve(output: LocalStore) -> None:
    make_output(output, [label_row("a.png", IDS)], classes())
    build_label_report(output, None, samples=1)
    page = read_page(output)
    assert "Their number was given." in page.text
    assert page.count("svg") == 1
    assert "#curve" not in page.values("href")


def test_names_keys_and_messages_of_strangers_stay_text(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [label_row(key, range(len(HOSTILE)), seed=i) for i, key in enumerate(HOSTILE)]
    rows += [bad_row(f"e/{key}", code, key) for code, key in zip(ErrorCode, HOSTILE, strict=False)]
    made = clustering([class_entry(i, name=name) for i, name in enumerate(HOSTILE)])
    make_output(output, rows, made | {"choice": HOSTILE[0]}, source=HOSTILE[1])
    build_label_report(output, source, samples=48, segmented=read_run(segments(output)))
    page = read_page(output)

    assert page.count("script") == 0
    attributes = {name for _, attributes in page.tags for name in attributes}
    assert not any(name.startswith("on") for name in attributes)
    assert all(src.startswith("pictures/") for src in page.values("src"))
    for key in HOSTILE:
        assert f"Classes of {key}" in page.values("alt")
        assert key in page.text
    names = [key.removeprefix("report/") for key in report_files(output)]
    assert all(re.fullmatch(r"index\.html|pictures/[a-z0-9-]+\.webp", name) for name in names)


def test_every_reference_is_relative_and_leads_to_a_file(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", IDS, i) for i in range(9)] + [bad_row("b")]
    make_output(output, rows, classes())
    build_label_report(output, source, samples=48)
    page, files = read_page(output), report_files(output)
    targets = page.values("src") + page.values("href")
    names = {target for target in targets if not target.startswith("#")}
    ids = page.values("id")

    assert {f"report/{name}" for name in names} == files.keys() - {"report/index.html"}
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    assert len(ids) == len(set(ids))
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", text_of(output))


def text_of(output: LocalStore) -> str:
    return output.read("report/index.html").data.decode()


def test_the_same_rows_give_the_same_bytes_however_they_are_sharded(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", IDS, i % 5) for i in range(30)] + [bad_row("b")]
    make_output(output, rows, classes())
    build_label_report(output, source, samples=5)
    first = report_files(output)
    for name in list_shards(output):
        output.delete(name)
    run = read_run(output)
    assert run is not None
    write_run(output, run | {"manifest": commit(output, rows, shard_size=7)})
    build_label_report(output, source, samples=5)
    assert report_files(output) == first


def test_many_images_and_many_classes_make_a_page_of_bounded_size(output: LocalStore) -> None:
    rows = [label_row(f"{i}.png", range(70), seed=i) for i in range(200)]
    make_output(output, rows, clustering([class_entry(i) for i in range(70)]), shard_size=64)
    summary = build_label_report(output, None, samples=10)
    page = read_page(output)
    assert summary.classes == 70
    assert page.values("class").count("class") == 64
    assert "and 6 smaller ones" in page.text and "Figures of the 6 smaller classes" in page.text
    assert {f"class-{i}" for i in range(70)} <= set(page.values("id"))
    assert page.values("class").count("crop") <= 64 * 21
    assert summary.files <= 1 + 64 * 21 + 2 * 10
    assert "The 24 largest classes." in page.text
    assert "A sample: 10 of 200 labelled images" in page.text


class Watched(LocalStore):
    """Counts how often each object is read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.reads = Counter[str]()

    def read(self, key: str) -> Blob:
        self.reads[key] += 1
        return super().read(key)


def test_a_photograph_is_read_once_for_all_that_is_shown_of_it(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", IDS, i) for i in range(9)]
    make_output(output, rows, classes())
    watched = Watched(source.root)
    build_label_report(output, watched, samples=48)
    assert watched.reads == {f"{i}.png": 1 for i in range(9)}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda source: source.delete("a.png"), "there is no object"),
        (lambda source: source.write("a.png", photograph(99)), "the image has changed since"),
    ],
)
def test_a_photograph_that_is_gone_is_told_and_its_classes_are_shown(
    source: LocalStore, output: LocalStore, damage: object, reason: str
) -> None:
    rows = [photographed(source, f"{name}.png", IDS, seed) for seed, name in enumerate("ab")]
    make_output(output, rows, classes())
    assert callable(damage)
    damage(source)
    summary = build_label_report(output, source, samples=48)
    page = read_page(output)
    assert (summary.photographs, summary.unavailable) == (2, 1)
    assert f"Photograph not available {reason}" in page.text
    assert f"1 photograph of the 2 on this page could not be shown, since {reason}" in page.text
    assert "Photograph a.png" not in page.values("alt")
    assert {"Classes of a.png", "Photograph b.png"} <= set(page.values("alt"))


def test_a_second_report_leaves_no_picture_of_the_first(output: LocalStore) -> None:
    make_output(output, [label_row(f"{i}.png", IDS, seed=i) for i in range(40)], classes())
    before = build_label_report(output, None, samples=40)
    after = build_label_report(output, None, samples=2)
    assert len(report_files(output)) == after.files < before.files
    assert list_shards(output)


@pytest.mark.parametrize("rows", [[], [bad_row("a.jpg")]], ids=["no rows", "only errors"])
def test_an_output_without_a_good_image_has_a_report(
    output: LocalStore, rows: list[dict[str, object]]
) -> None:
    make_output(output, rows, classes())
    assert build_label_report(output, None, samples=48).samples == 0
    text = read_page(output).text
    assert "There is no image to show." in text
    assert text.count("No image of this run has it.") == 3


def test_a_single_class_has_a_report(output: LocalStore) -> None:
    made = clustering([class_entry(0, nearest=None)], silhouette=None, stability=None)
    make_output(output, [label_row("a.png", (0,))], made)
    build_label_report(output, None, samples=1)
    page = read_page(output)
    assert "stability – silhouette –" in page.text
    assert "#hierarchy" not in page.values("href")


def test_a_report_on_an_unfinished_run_says_so(output: LocalStore) -> None:
    make_output(output, [label_row("a.png", IDS)], classes(), status="running")
    build_label_report(output, None, samples=1)
    assert "This run is not finished." in read_page(output).text


def test_the_line_of_sql_on_the_page_runs(output: LocalStore) -> None:
    rows = [label_row(f"{i}.png", IDS, seed=i) for i in range(20)] + [bad_row("b.jpg")]
    make_output(output, rows, classes())
    build_label_report(output, None, samples=1)
    (query,) = re.findall(r'<code class="sql">(.*?)</code>', text_of(output))
    found = duckdb.execute(html.unescape(query)).fetchall()
    (largest,) = {class_id for _, class_id, _, _ in found}
    shares = {
        row["key"]: mask["area"] / (row["width"] * row["height"])
        for row in rows[:20]
        for mask in row["segments"]
        if mask["index"] == largest
    }
    assert {key: share for key, _, share, _ in found} == pytest.approx(shares)


def test_the_job_knows_a_label_run_and_finds_its_photographs(
    source: LocalStore, output: LocalStore
) -> None:
    make_output(output, [photographed(source, "a.png", IDS)], classes(), source.uri)
    result = run_report(ReportConfig(output.uri))
    assert (result["job"], result["classes"], result["unavailable"]) == ("report", 3, 0)
    assert Path(result["location"]).is_file()


def test_the_job_finds_photographs_that_moved(source: LocalStore, output: LocalStore) -> None:
    rows = [photographed(source, "a.png", IDS)]
    make_output(output, rows, classes(), "nowhere")
    assert run_report(ReportConfig(output.uri))["unavailable"] == 1
    assert run_report(ReportConfig(output.uri, input=source.uri))["unavailable"] == 0
    run = read_run(output)
    assert run is not None
    run["configuration"]["images"] = source.uri
    write_run(output, run)
    assert run_report(ReportConfig(output.uri))["unavailable"] == 0


def test_a_report_needs_no_segments(source: LocalStore, output: LocalStore) -> None:
    make_output(output, [photographed(source, "a.png", IDS)], classes(), source.uri)
    segments(output).delete("run.json")
    assert run_report(ReportConfig(output.uri))["unavailable"] == 1
    assert "without access to the photographs" in read_page(output).text
    assert run_report(ReportConfig(output.uri, input=source.uri))["unavailable"] == 0


def test_cut_outs_of_a_label_run_are_refused(output: LocalStore) -> None:
    make_output(output, [label_row("a.png", IDS)], classes())
    with pytest.raises(UserError, match="--edits belongs to a segment run"):
        run_report(ReportConfig(output.uri, edits="cutouts"))
