"""Whole runs of the export job, on Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import boto3
import duckdb
import numpy as np
import pytest
import ray
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from specray.cli import main
from specray.errors import ErrorCode, UserError
from specray.pipelines.config import Method
from specray.pipelines.export import IN_ROWS, ExportConfig, run_export
from specray.sources import LocalStore, Store, open_store
from specray.tables import read
from specray.tables.exports import CATEGORIES, OWNED
from specray.tables.rows import Row
from specray.tables.run import write_run
from specray.tables.shards import plan_shards
from tests.tables.report_cases import (
    FINGERPRINT,
    bad_row,
    commit,
    good_row,
    photographed,
    run_record,
    with_instances,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")

FORMATS = ("coco", "panoptic", "voc", "ids", "parquet", "hf", "yolo")


def finish(
    segments: Store, rows: Sequence[Row], source: object, methods: Sequence[str], **run: Any
) -> None:
    """What the segment job leaves behind, in small shards."""
    parts = commit(segments, rows, shard_size=4)
    record = run_record(len(rows), str(source), manifest=parts, **run)
    record["configuration"]["methods"] = list(methods)
    write_run(segments, record)


def segmented(folder: Path, methods: Sequence[str] = ("objects", "regions")) -> Path:
    """An output of twelve good images in several shards, and of two bad ones."""
    photographs = LocalStore(str(folder / "photographs"))
    rows = [photographed(photographs, f"{'ab'[i % 2]}/{i:03}.png", i) for i in range(12)]
    rows += [bad_row("a/bad.png", ErrorCode.EMPTY, "no bytes"), bad_row("b/worse.png")]
    finish(LocalStore(str(folder / "out")), rows, folder / "photographs", methods)
    return folder / "out"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return segmented(tmp_path_factory.mktemp("segmented"))


def configuration(segments: object, exported: object, format_: Any, **more: Any) -> ExportConfig:
    return ExportConfig(str(segments), str(exported), format_, **more)


def files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", FORMATS)
def test_good_images_are_exported_and_bad_ones_listed(
    name: str, output: Path, tmp_path: Path
) -> None:
    result = run_export(configuration(output, tmp_path, name))
    masks = 12 * (5 if name == "parquet" else 2)
    assert (result["images"], result["masks"]) == (12, masks)
    assert (result["skipped"], result["skip_codes"]) == (2, {"corrupt": 1, "empty": 1})
    lines = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"key": "a/bad.png", "code": "empty", "message": "no bytes"},
        {"key": "b/worse.png", "code": "corrupt", "message": "cut short"},
    ]
    written = files_in(tmp_path).keys() - {"export.json"}
    assert result["files"] == len(written)
    assert all(OWNED[name].fullmatch(key) for key in written)  # so --overwrite finds them
    record = json.loads((tmp_path / "export.json").read_text())
    assert (record["status"], record["format"]) == ("finished", name)
    assert record["result"]["masks"] == masks


@pytest.mark.parametrize("name", FORMATS)
def test_instances_are_exported_and_images_without_any_are_not_skipped(
    name: str, tmp_path: Path
) -> None:
    photographs = LocalStore(str(tmp_path / "photographs"))
    rows = [photographed(photographs, f"{i}.png", i) for i in range(4)]
    rows = [with_instances(row, i) for i, row in enumerate(rows)]
    store = LocalStore(str(tmp_path / "out"))
    finish(store, rows, tmp_path / "photographs", ["objects", "regions", "instances"])
    config = configuration(tmp_path / "out", tmp_path / name, name, method="instances")
    result = run_export(config)
    assert (result["images"], result["masks"], result["skipped"]) == (4, 6, 0)


def test_whatever_segment_finds_can_be_exported() -> None:
    assert IN_ROWS.keys() == set(get_args(Method))
    assert set(IN_ROWS.values()) == CATEGORIES.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_command_again_gives_the_same_bytes(
    name: str, output: Path, tmp_path: Path
) -> None:
    config = configuration(output, tmp_path, name)
    run_export(config)
    first = files_in(tmp_path)
    run_export(config)
    assert files_in(tmp_path) == first


@pytest.mark.parametrize("method", ["object", "region"])
def test_ids_are_places_in_the_manifest_and_masks_those_of_the_rows(
    method: str, output: Path, tmp_path: Path
) -> None:
    run_export(configuration(output, tmp_path, "coco", method=f"{method}s"))
    found = COCO(str(tmp_path / "instances.json"))
    seen = 0
    for place, row in enumerate(read(str(output)).to_pylist(), start=1):
        segments = row["segments"] or []
        ids = [seen + i for i, s in enumerate(segments, start=1) if s["method"] == method]
        seen += len(segments)
        assert (place in found.imgs) == (row["error"] is None)
        assert found.getAnnIds(imgIds=[place]) == ids
        mine = [s["rle"] for s in segments if s["method"] == method]
        for annotation, rle in zip(found.loadAnns(ids), mine, strict=True):
            assert np.array_equal(found.annToMask(annotation), coco_mask.decode(rle))


def test_a_bucket_gives_the_files_of_the_folder(
    output: Path, tmp_path: Path, s3_server: str, s3_bucket: str
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    for key, data in files_in(output).items():
        client.put_object(Bucket=s3_bucket, Key=f"out/{key}", Body=data)
    for name in ("panoptic", "parquet"):
        run_export(configuration(output, tmp_path / name, name))
        uri = f"s3://{s3_bucket}/{name}"
        run_export(configuration(f"s3://{s3_bucket}/out", uri, name, endpoint=s3_server))
        store = open_store(uri, s3_server)
        assert {e.key: store.read(e.key).data for e in store.list()} == files_in(tmp_path / name)


def test_parquet_holds_all_methods_unless_one_is_asked_for(output: Path, tmp_path: Path) -> None:
    for method, count in ((None, 60), ("regions", 36)):
        run_export(configuration(output, tmp_path / str(method), "parquet", method=method))
        query = f"SELECT count(*) FROM '{tmp_path}/{method}/*.parquet'"
        assert duckdb.execute(query).fetchone() == (count,)


def test_photographs_may_have_moved(output: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(output.parent / "photographs", moved)
    (moved / "a/000.png").unlink()
    (moved / "b/001.png").write_bytes(b"another")
    result = run_export(configuration(output, tmp_path / "hf", "hf", images=str(moved)))
    assert (result["images"], result["masks"]) == (10, 20)
    assert result["skip_codes"] == {"changed": 1, "corrupt": 1, "empty": 1, "missing": 1}


def test_an_increment_under_way_leaves_the_finished_state_to_export(tmp_path: Path) -> None:
    output = segmented(tmp_path)
    before = read(str(output), columns=["key"])["key"].to_pylist()
    store = LocalStore(str(output))
    record = json.loads((output / "run.json").read_text())
    later = commit(store, [good_row("z")])
    running = {"status": "running", "manifest": later, "finished_manifest": record["manifest"]}
    write_run(store, record | running)
    run_export(configuration(output, tmp_path / "ids", "ids"))
    entries = map(json.loads, (tmp_path / "ids" / "images.jsonl").read_text().splitlines())
    assert [entry["key"] for entry in entries] == [key for key in before if "bad" not in key][:12]


def test_images_of_one_stem_and_of_odd_keys_have_files_of_their_own(tmp_path: Path) -> None:
    keys = ["x.jpg", "x.png", "../../x.jpg", "a//b.jpg", "n\n.jpg", "plain.jpg"]
    finish(LocalStore(str(tmp_path / "out")), [good_row(key) for key in keys], "in", ["objects"])
    before = files_in(tmp_path)
    run_export(configuration(tmp_path / "out", tmp_path / "ids", "ids"))
    entries = map(json.loads, (tmp_path / "ids" / "images.jsonl").read_text().splitlines())
    names = {entry["key"]: entry["name"] for entry in entries}
    assert names.keys() == set(keys)
    assert names["plain.jpg"] == "plain"
    assert len(set(names.values())) == len(keys)
    for name in names.values():
        with Image.open(tmp_path / "ids" / "ids" / f"{name}.png") as image:
            assert np.asarray(image).max() == 2
    after = {k: v for k, v in files_in(tmp_path).items() if not k.startswith("ids/")}
    assert after == before


def test_a_bad_image_takes_no_name_from_a_good_one(tmp_path: Path) -> None:
    rows = [good_row("x.jpg"), bad_row("x.png"), good_row("y.jpg"), good_row("y.png")]
    rows += [good_row(f"z/{i}.jpg") for i in range(4)]  # among them shards without errors
    finish(LocalStore(str(tmp_path / "out")), rows, "in", ["objects"])
    result = run_export(configuration(tmp_path / "out", tmp_path / "yolo", "yolo"))
    assert result["skip_codes"] == {"corrupt": 1, "no_own_name": 2}
    labels = {"labels/x.txt", *(f"labels/z/{i}.txt" for i in range(4))}
    assert {key for key in files_in(tmp_path / "yolo") if key.startswith("labels/")} == labels


@contextmanager
def one_cpu_left() -> Iterator[None]:
    """Hold all CPUs of Ray but one."""

    class Idle:
        def ready(self) -> None: ...

    actor: Any = ray.remote(Idle).options(num_cpus=1)
    idle = [actor.remote() for _ in range(int(ray.available_resources()["CPU"]) - 1)]
    assert idle
    ray.get([each.ready.remote() for each in idle])
    try:
        yield
    finally:
        for each in idle:
            ray.kill(each)


@pytest.mark.parametrize("name", ["ids", "coco", "hf"])
def test_one_worker_writes_the_bytes_of_three(name: str, output: Path, tmp_path: Path) -> None:
    run_export(configuration(output, tmp_path / "three", name))
    with one_cpu_left():
        run_export(configuration(output, tmp_path / "one", name))
    assert files_in(tmp_path / "one") == files_in(tmp_path / "three")


def test_an_export_that_was_interrupted_goes_on_with_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, to, calm = segmented(tmp_path), tmp_path / "to", tmp_path / "calm"
    run_export(configuration(output, calm, "ids"))
    before = files_in(output)
    with monkeypatch.context() as patched, one_cpu_left():
        removing = _then_removed(LocalStore(str(output)), shard=3)
        patched.setattr("specray.pipelines.export_plan.committed_shards", removing)
        with pytest.raises(UserError):
            run_export(configuration(output, to, "ids"))
    for name in before.keys() - files_in(output).keys():
        (output / name).write_bytes(before[name])
    done = {path: path.stat().st_mtime_ns for path in (to / "ids" / "a").iterdir()}
    assert len(done) == 6
    run_export(configuration(output, to, "ids"))
    assert files_in(to) == files_in(calm)
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_overwrite_does_all_of_it_again(output: Path, tmp_path: Path) -> None:
    run_export(configuration(output, tmp_path, "ids"))
    whole = files_in(tmp_path)
    (tmp_path / "ids" / "stale.png").write_bytes(b"of an earlier version")
    (tmp_path / f"receipt-{'0' * 32}.json").write_text("{}")
    run_export(configuration(output, tmp_path, "ids", overwrite=True))
    assert files_in(tmp_path) == whole


def test_an_export_of_other_masks_is_refused_and_overwrite_removes_its_files_alone(
    output: Path, tmp_path: Path
) -> None:
    run_export(configuration(output, tmp_path, "yolo"))
    mine = {"images/a/000.jpg": b"a photograph", "notes.txt": b"notes"}
    for name, data in mine.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=r"an export of format yolo .*--overwrite"):
        run_export(configuration(output, tmp_path, "coco"))
    run_export(configuration(output, tmp_path, "coco", overwrite=True))
    files = files_in(tmp_path)
    assert files.keys() == {"export.json", "skipped.jsonl", "instances.json", *mine}
    assert {name: files[name] for name in mine} == mine


def mistake(*, match: str, **config: Any) -> None:
    """The job refuses in one line."""
    with pytest.raises(UserError, match=match) as caught:
        run_export(ExportConfig(**config))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_exported_is_one_clear_line_before_anything_is_written(
    output: Path, tmp_path: Path
) -> None:
    to = {"output": str(tmp_path / "to"), "format": "coco"}
    mistake(input=str(tmp_path / "nothing"), **to, match="run specray segment first")
    mistake(input=str(output), **to | {"output": str(output)}, match="a place of its own")
    inside = str(output.parent / "photographs" / "masks")
    mistake(input=str(output), **to | {"output": inside}, match="inside the images")

    nowhere = str(tmp_path / "nowhere")
    mistake(input=str(output), **to | {"format": "hf"}, images=nowhere, match="--images where")

    objects = segmented(tmp_path / "objects", ["objects"])
    mistake(input=str(objects), **to, method="regions", match="holds no regions, but objects")

    store = LocalStore(str(objects))
    record = json.loads((objects / "run.json").read_text())
    (first, *_) = plan_shards(store, record["manifest"], FINGERPRINT)
    store.write(first.name, b"torn")
    mistake(input=str(objects), **to, match="1 shards .* are missing or torn")
    write_run(store, record | {"status": "running", "finished_manifest": None})
    mistake(input=str(objects), **to, match="has not finished")

    write_run(store, record | {"job": "edit"})
    mistake(input=str(objects), **to, match="written by specray edit, not by segment")

    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "export.json").write_text('{"of": "somebody else"}')
    foreign = to | {"output": str(tmp_path / "foreign")}
    mistake(input=str(output), **foreign, match="specray did not write")
    assert not (tmp_path / "to").exists()


def test_a_run_over_nothing_exports_nothing(tmp_path: Path) -> None:
    finish(LocalStore(str(tmp_path / "out")), [], "in", ["objects"])
    result = run_export(configuration(tmp_path / "out", tmp_path / "coco", "coco"))
    assert (result["images"], result["masks"], result["skipped"]) == (0, 0, 0)
    assert json.loads((tmp_path / "coco" / "instances.json").read_text())["images"] == []


def test_a_shard_that_changes_under_the_export_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = segmented(tmp_path)
    monkeypatch.setattr(
        "specray.pipelines.export_plan.committed_shards",
        _then_removed(LocalStore(str(output)), shard=3),
    )
    match = r"was removed or replaced .* run the same command again"
    mistake(input=str(output), output=str(tmp_path / "to"), format="coco", match=match)


def _then_removed(store: LocalStore, shard: int) -> Any:
    """As somebody does who empties the output between the plan and the work."""
    from specray.tables.commit import committed_shards

    def found(segments: Store, shards: Sequence[Any]) -> Any:
        counts = committed_shards(segments, shards)
        store.delete(shards[shard].name)
        return counts

    return found


def test_the_last_line_is_one_json_object(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--input", str(output), "--output", str(tmp_path), "--format", "voc"]
    assert main(["export", *args]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out.splitlines()[-1])
    assert (result["job"], result["images"], result["output"]) == ("export", 12, str(tmp_path))
    assert "14 / 14 images" in captured.err
