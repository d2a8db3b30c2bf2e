"""The report as a whole: what it promises to the people who open it."""

from __future__ import annotations

import html
import re
from pathlib import Path

import duckdb
import pytest

from specray.errors import ErrorCode, UserError
from specray.pipelines.report import ReportConfig, run_report
from specray.sources import LocalStore, open_store
from specray.tables.commit import list_shards
from specray.tables.report import build_report
from specray.tables.run import read_run, write_run
from tests.tables.report_cases import (
    HEIGHT,
    WEIGHTS,
    WIDTH,
    bad_row,
    commit,
    good_row,
    make_output,
    photograph,
    photographed,
    read_page,
    report_files,
    run_record,
    with_instances,
)

HOSTILE = (
    "<script>alert(1)</script>.jpg",
    '"><img src=x onerror=alert(1)>.jpg',
    "'><svg onload=alert(1)>.jpg",
    "javascript:alert(1)//.jpg",
    "{{ 7 * 191 }}{% raw %}.jpg",
    "../&amp;lt;b.jpg",
    "\u202egpj.elppa.jpg",
)


@pytest.fixture
def source(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "photos"))


@pytest.fixture
def output(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "it's out"))


def test_a_report_shows_good_rows_bad_rows_and_how_they_were_made(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"party/{i}.png", seed=i) for i in range(8)]
    rows += [bad_row(f"bad/{i}.jpg", ErrorCode.EMPTY, f"nothing in {i}") for i in range(5)]
    rows += [bad_row("bad/long.jpg", ErrorCode.CORRUPT, "scrambled eggs")]
    make_output(output, rows)

    summary = build_report(output, source, samples=48)
    page = read_page(output)

    assert (summary.images, summary.errors, summary.samples, summary.unavailable) == (14, 6, 8, 0)
    assert summary.location == f"{output.uri}/report/index.html"
    figures = "images 14 objects 16 regions 24 errors 6 42.9 % images / s 12.3 dense fallbacks 4"
    assert figures in page.text
    assert "All 8 segmented images, none left out" in page.text
    alts = page.values("alt")
    for row in rows[:8]:
        key = row["key"]
        wanted = [f"Photograph {key}", f"Object mask and box of {key}", f"Regions of {key}"]
        wanted += [f"Object in patches, before refinement, of {key}"]
        wanted += [f"Eigenvector {k} of {key}" for k in range(1, 5)]
        assert set(wanted) <= set(alts)
        facts = (
            f"score {row['segments'][0]['score']:.2f} objects 2 regions 3 size {WIDTH} × {HEIGHT}"
        )
        assert f"{facts} λ 1 {row['eigenvalues'][1]:.3f}" in page.text
    titles = ("Object score", "Object size", "Regions per image", "Image size", "Fiedler")
    assert page.count("svg") == len(titles)
    assert all(f"Histogram. {title}" in " ".join(page.values("aria-label")) for title in titles)
    assert "empty 5" in page.text and "and 2 more" in page.text
    assert "bad/long.jpg decode: scrambled eggs" in page.text
    for fact in ("vit_of_the_test", WEIGHTS, "weights/of/the/test.safetensors", "4711", "9.8.7"):
        assert fact in page.text
    assert "Parquet 4.6 MB" in page.text and "time 98.7 s" in page.text
    assert "refinement of the masks fast CRF, short side 32 px" in page.text
    assert page.text.count("object, patches object, refined") == 8


def test_a_report_on_instances_alone_shows_them_and_speaks_of_nothing_else(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", i) for i in range(4)]
    bare = [row | {"segments": [], "eigenvectors": None} for row in rows]
    make_output(
        output, [with_instances(row, i) for i, row in enumerate(bare)], methods=["instances"]
    )
    build_report(output, source, samples=48)
    page = read_page(output)
    assert "images 4 instances 6 errors 0" in page.text
    alts = page.values("alt")
    assert {alt for alt in alts if "Instances" in alt} == {
        f"Instances of {i}.png" for i in (1, 2, 3)
    }
    assert page.text.count("No instance nothing stands out instances") == 1
    for count in range(4):
        assert f"instances {count} size {WIDTH} × {HEIGHT}" in page.text
    labels = " ".join(page.values("aria-label"))
    assert "Instances per image: Median" in labels and "Instance score: Median" in labels
    assert "half of the instances lie between" in page.text
    _, _, body = page.text.partition("Found without any labels")
    told, _, _ = body.partition("From run.json")
    for word in ("region", "object", "Object", "--keep eigenvectors"):
        assert word not in told + " ".join(alts)


def test_a_report_on_primaps_alone_shows_them_and_speaks_of_nothing_else(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", i) for i in range(4)]
    for i, row in enumerate(rows):
        made = with_instances(row | {"segments": [], "eigenvectors": None}, i)["segments"]
        rows[i] = row | {"segments": [s | {"method": "primap"} for s in made], "eigenvectors": None}
    make_output(output, rows, methods=["primaps"])
    build_report(output, source, samples=48)
    page = read_page(output)
    assert "images 4 primaps 6 errors 0" in page.text
    alts = page.values("alt")
    proposals = {alt for alt in alts if "Principal" in alt}
    assert proposals == {f"Principal mask proposals of {i}.png" for i in (1, 2, 3)}
    for count in range(4):
        assert f"primaps {count} size {WIDTH} × {HEIGHT}" in page.text
    assert "Primaps per image: Median" in " ".join(page.values("aria-label"))
    _, _, body = page.text.partition("Found without any labels")
    told, _, _ = body.partition("From run.json")
    for word in ("region", "object", "Object", "instance", "--keep eigenvectors"):
        assert word not in told + " ".join(alts)


def test_instances_stand_beside_objects_and_regions(source: LocalStore, output: LocalStore) -> None:
    rows = [with_instances(photographed(source, f"{i}.png", i), 2) for i in range(3)]
    make_output(output, rows, methods=["objects", "regions", "instances"])
    build_report(output, source, samples=48)
    page = read_page(output)
    for kind in ("Photograph", "Object mask and box of", "Regions of", "Instances of"):
        assert {f"{kind} {i}.png" for i in range(3)} <= set(page.values("alt"))
    assert "images 3 objects 6 regions 9 instances 6 errors 0" in page.text
    assert "objects 2 regions 3 instances 2 size" in page.text


def test_a_gallery_that_prefers_images_with_several_instances_says_so(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [with_instances(good_row(f"{i}.png"), 3 if i % 20 == 0 else 1) for i in range(60)]
    make_output(output, rows, methods=["instances"])
    build_report(output, source, samples=10)
    page = read_page(output)
    shown = {alt for alt in page.values("alt") if alt.startswith("Instances of")}
    assert {f"Instances of {i}.png" for i in (0, 20, 40)} <= shown
    assert re.search(r"the first [123] of them only from images with several instances", page.text)


def test_the_most_doubtful_images_are_those_of_the_lowest_object_score(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [good_row(f"{i}.png", seed=i) for i in range(60)]
    make_output(output, rows)
    build_report(output, source, samples=0)
    shown = re.findall(
        r'<article class="doubt">.*?<strong>([\d.]+)</strong>.*?<bdi>(.*?)</bdi>',
        output.read("report/index.html").data.decode(),
        flags=re.DOTALL,
    )
    scores = sorted((row["segments"][0]["score"], row["key"]) for row in rows)[:12]
    assert [(f"{score:.2f}", key) for score, key in scores] == shown


def test_keys_and_messages_of_strangers_stay_text(source: LocalStore, output: LocalStore) -> None:
    rows = [good_row(key, seed=i) for i, key in enumerate(HOSTILE)]
    rows += [bad_row(f"e/{key}", code, key) for code, key in zip(ErrorCode, HOSTILE, strict=False)]
    make_output(output, rows, source=HOSTILE[1])
    build_report(output, source, samples=48)
    page = read_page(output)

    assert page.count("script") == 0
    attributes = {name for _, attributes in page.tags for name in attributes}
    assert not any(name.startswith("on") for name in attributes)
    assert all(src.startswith("pictures/") for src in page.values("src"))
    for key in HOSTILE:
        assert key in page.text
        assert f"Regions of {key}" in page.values("alt")
    names = [key.removeprefix("report/") for key in report_files(output)]
    assert all(re.fullmatch(r"index\.html|pictures/[a-z0-9-]+\.(webp|png)", name) for name in names)


def test_every_reference_is_relative_and_leads_to_a_file(
    source: LocalStore, output: LocalStore
) -> None:
    make_output(output, [photographed(source, f"{i}.png", i) for i in range(9)] + [bad_row("b")])
    build_report(output, source, samples=48)
    page, files = read_page(output), report_files(output)
    targets = page.values("src") + page.values("href")
    names = {target for target in targets if not target.startswith("#")}
    ids = page.values("id")

    assert {f"report/{name}" for name in names} == files.keys() - {"report/index.html"}
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    assert len(ids) == len(set(ids))
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", files_text(output))


def files_text(output: LocalStore) -> str:
    return output.read("report/index.html").data.decode()


def test_a_report_on_many_images_is_no_larger_and_says_that_it_is_a_sample(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [good_row(f"{i}.png", seed=i) for i in range(2000)]
    write_run(output, run_record(2000, manifest=commit(output, rows, shard_size=256)))
    summary = build_report(output, source, samples=10)
    # the page, the map of places; per image: object, twice, regions, x_1 to x_4; doubtful: object
    assert summary.files == len(report_files(output)) <= 2 + 10 * 7 + 12
    assert summary.samples == 10
    assert "A sample: 10 of 2,000 segmented images" in read_page(output).text


def test_the_same_rows_give_the_same_bytes_however_they_are_sharded(
    source: LocalStore, output: LocalStore
) -> None:
    rows = [photographed(source, f"{i}.png", i) for i in range(30)] + [bad_row("b"), bad_row("c")]
    make_output(output, rows)
    build_report(output, source, samples=5)
    first = report_files(output)
    build_report(output, source, samples=5)
    assert report_files(output) == first

    for name in list_shards(output):
        output.delete(name)
    write_run(output, run_record(len(rows), manifest=commit(output, rows, shard_size=7)))
    build_report(output, source, samples=5)
    assert report_files(output) == first


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda source: source.delete("a.png"), "there is no object"),
        (lambda source: source.write("a.png", photograph(99)), "the image has changed since"),
        (lambda source: source.write("a.png", b""), "the image has changed since"),
    ],
)
def test_a_photograph_that_is_gone_is_shown_as_such(
    source: LocalStore, output: LocalStore, damage: object, reason: str
) -> None:
    make_output(output, [photographed(source, "a.png"), photographed(source, "b.png", 1)])
    assert callable(damage)
    damage(source)
    summary = build_report(output, source, samples=48)
    page = read_page(output)
    assert (summary.samples, summary.unavailable) == (2, 1)
    assert f"Photograph not available {reason}" in page.text
    assert "1 photograph of this sample could not be shown" in page.text
    assert "Photograph a.png" not in page.values("alt")
    assert {"Regions of a.png", "Photograph b.png"} <= set(page.values("alt"))


def test_a_photograph_that_cannot_be_decoded_is_shown_as_such(
    source: LocalStore, output: LocalStore
) -> None:
    source.write("a.png", photograph(0)[:200])
    make_output(output, [good_row("a.png", source.read("a.png").etag)])
    assert build_report(output, source, samples=1).unavailable == 1
    assert "Photograph not available" in read_page(output).text


def test_without_the_photographs_the_masks_are_shown(output: LocalStore) -> None:
    make_output(output, [good_row("a.png")])
    summary = build_report(output, None, samples=1)
    assert summary.unavailable == 1
    assert "Object mask and box of a.png" in read_page(output).values("alt")


def test_a_report_without_eigenvectors_says_how_to_keep_them(
    source: LocalStore, output: LocalStore
) -> None:
    make_output(output, [good_row("a.png", eigenvectors=False)])
    build_report(output, source, samples=1)
    text = read_page(output).text
    assert "--keep eigenvectors to see them here, and the objects as they were before" in text
    assert "object, patches" not in text and "object, refined" not in text


def test_a_run_without_refinement_shows_its_objects_once(
    source: LocalStore, output: LocalStore
) -> None:
    make_output(output, [good_row("a.png")])
    run = read_run(output)
    assert run is not None
    run["configuration"]["refinement"]["refine"] = "none"
    write_run(output, run)
    build_report(output, source, samples=1)
    page = read_page(output)
    assert "object, patches" not in page.text and "object, refined" not in page.text
    assert sum("Object" in alt for alt in page.values("alt")) == 2  # in the gallery, and doubtful
    assert "none: masks are whole patches" in page.text


def test_a_second_report_leaves_no_picture_of_the_first(
    source: LocalStore, output: LocalStore
) -> None:
    make_output(output, [good_row(f"{i}.png", seed=i) for i in range(40)])
    before = build_report(output, source, samples=40)
    after = build_report(output, source, samples=2)
    assert len(report_files(output)) == after.files < before.files
    assert list_shards(output)


@pytest.mark.parametrize("rows", [[], [bad_row("a.jpg")]], ids=["no rows", "only errors"])
def test_an_output_without_a_good_image_has_a_report(
    source: LocalStore, output: LocalStore, rows: list[dict[str, object]]
) -> None:
    make_output(output, rows)
    assert build_report(output, source, samples=48).samples == 0
    assert "There is no image to show." in read_page(output).text


def test_a_report_on_an_unfinished_run_says_so(source: LocalStore, output: LocalStore) -> None:
    parts = commit(output, [good_row("a.png")])
    record = run_record(1, status="running", manifest=parts)
    del record["result"]
    write_run(output, record)
    build_report(output, source, samples=1)
    assert "This run is not finished." in read_page(output).text


def test_shards_of_an_earlier_state_of_the_input_are_left_out(
    source: LocalStore, output: LocalStore
) -> None:
    commit(output, [good_row("a.png"), good_row("gone.png")])
    make_output(output, [good_row("a.png")])
    assert build_report(output, source, samples=9).images == 1


def test_the_lines_of_code_on_the_page_run(source: LocalStore, output: LocalStore) -> None:
    rows = [good_row(f"{i}.png", seed=i) for i in range(20)] + [bad_row("b.jpg")]
    rows[4] = with_instances(rows[4], 7)
    rows[5] = with_instances(rows[5], 1)
    make_output(output, rows, methods=["objects", "regions", "instances"])
    build_report(output, source, samples=1)
    queries = [
        html.unescape(query)
        for query in re.findall(r'<code class="sql">(.*?)</code>', files_text(output))
    ]
    everything, doubtful, crowded = (duckdb.execute(query).fetchall() for query in queries)
    assert {(key, code) for key, _, _, code, _ in everything} == {
        (row["key"], row.get("error", {}).get("code")) for row in rows
    }
    assert len(doubtful) == 20
    assert doubtful[0][0] == min(rows[:20], key=lambda row: row["segments"][0]["score"])["key"]
    assert [(key, count) for key, count, _ in crowded] == [("4.png", 7), ("5.png", 1)]
    # over several lines where the folder has a long name
    (code, _) = re.findall(r'(?s)<code class="python">(.*?)</code>', files_text(output))
    folder = re.fullmatch(r"(?s)rows = pandas\.read_parquet\((.*)\)", html.unescape(code))
    assert folder is not None
    assert Path(eval(folder[1])) == Path(output.root, "shards")


def test_the_job_takes_the_photographs_from_where_the_run_read_them(
    source: LocalStore, output: LocalStore
) -> None:
    make_output(output, [photographed(source, "a.png")], source.uri)
    result = run_report(ReportConfig(output.uri))
    assert (result["job"], result["images"], result["unavailable"]) == ("report", 1, 0)
    assert Path(result["location"]).is_file()


def test_the_job_finds_photographs_that_moved_by_its_input(
    source: LocalStore, output: LocalStore
) -> None:
    make_output(output, [photographed(source, "a.png")], "nowhere")
    assert run_report(ReportConfig(output.uri))["unavailable"] == 1
    assert run_report(ReportConfig(output.uri, input=source.uri))["unavailable"] == 0


def test_the_job_refuses_a_folder_that_holds_no_run(output: LocalStore) -> None:
    output.write("notes.txt", b"mine")
    with pytest.raises(UserError, match=r"holds no run\.json; run specray segment first"):
        run_report(ReportConfig(output.uri))


def test_a_report_can_live_in_a_bucket(source: LocalStore, s3_server: str, s3_bucket: str) -> None:
    output = open_store(f"s3://{s3_bucket}/runs/1", s3_server)
    make_output(output, [photographed(source, "a.png")], source.uri)
    result = run_report(ReportConfig(output.uri, endpoint=s3_server))
    assert result["location"] == f"s3://{s3_bucket}/runs/1/report/index.html"
    assert len(report_files(output)) == result["files"]
    assert "Photograph a.png" in read_page(output).values("alt")
