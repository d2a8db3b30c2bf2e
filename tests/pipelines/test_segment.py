"""Whole runs of the segment job, on Ray."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import boto3
import duckdb
import numpy as np
import psutil
import pyarrow as pa
import pytest
import safetensors.torch
from pycocotools import mask as coco_mask

from specray.backbones import BackboneConfig
from specray.errors import UserError
from specray.masks import RefineConfig
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.edit_places import Wanted
from specray.pipelines.exporting import _COLUMNS as EXPORTED
from specray.pipelines.graph import StreamingPass
from specray.pipelines.segment import run_segment
from specray.sources import open_store
from specray.tables.commit import list_shards, read_shard
from specray.tables.reading import read_segments
from specray.tables.report.build import COLUMNS as REPORTED
from specray.tables.schema import SEGMENTS
from tests.pipelines.photographs import BAD, GOOD, HEIGHT, WIDTH, write_photographs

pytestmark = pytest.mark.usefixtures("ray_cluster")

DESCRIPTOR = BackboneConfig(backbone="descriptor")


def configuration(source: object, output: object, **run: Any) -> SegmentConfig:
    """The descriptor in small shards, so that a few images make several."""
    small: dict[str, Any] = {"shard_size": 8, "batch_size": 4, "num_workers": 1, "device": "cpu"}
    return SegmentConfig(
        input=str(source), output=str(output), features=DESCRIPTOR, run=RunConfig(**small | run)
    )


def rows_of(output: object, endpoint: str | None = None) -> pa.Table:
    return pa.concat_tables(read_segments(open_store(str(output), endpoint)))


def peak_of_workers() -> int:
    """Largest peak memory, in bytes, of the processes that our Ray runs our code in."""
    peaks = []
    for child in psutil.Process().children(recursive=True):
        process = Path("/proc", str(child.pid))
        try:
            if b"ray::" in (process / "cmdline").read_bytes():
                status = (process / "status").read_text()
                peaks.append(1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]))
        except (FileNotFoundError, ProcessLookupError, IndexError):
            continue  # it has just ended
    return max(peaks)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, 20)
    return folder


@pytest.fixture(scope="module")
def calm(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run over the photographs."""
    output = tmp_path_factory.mktemp("calm")
    result = run_segment(configuration(photographs, output))
    assert (result["images"], result["errors"], result["shards"]) == (20, 0, 3)
    return output


def test_every_image_of_the_manifest_has_one_row_in_its_order(
    photographs: Path, calm: Path
) -> None:
    keys = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.jpg"))
    rows = rows_of(calm)
    assert rows["key"].to_pylist() == keys
    assert rows.schema.equals(SEGMENTS)
    assert rows["error"].null_count == len(keys)


def test_masks_are_of_the_original_size_and_regions_cover_the_image(calm: Path) -> None:
    for row in rows_of(calm).to_pylist():
        assert (row["height"], row["width"]) == (HEIGHT, WIDTH)
        regions = [s for s in row["segments"] if s["method"] == "region"]
        covered = np.sum([coco_mask.decode(s["rle"]) for s in regions], axis=0)
        assert covered.shape == (HEIGHT, WIDTH)
        assert (covered == 1).all()
        for segment in row["segments"]:
            assert coco_mask.area(segment["rle"]) == segment["area"]
            assert coco_mask.toBbox(segment["rle"]).tolist() == segment["bbox"]


def test_the_parquet_opens_in_duckdb(calm: Path) -> None:
    query = f"""
        SELECT count(*) FROM (SELECT unnest(segments) AS s FROM '{calm}/shards/*.parquet')
        WHERE s.method = 'object' AND s.index = 0
    """
    assert duckdb.execute(query).fetchone() == (20,)


def test_run_json_records_configuration_versions_and_counts(calm: Path) -> None:
    run = json.loads((calm / "run.json").read_text())
    assert run["status"] == "finished"
    assert run["result"]["images"] == 20
    assert run["configuration"]["features"]["backbone"] == "descriptor"
    assert run["cell"] == 16
    assert {"torch", "specray", "ray"} <= run["versions"].keys()


def test_every_segment_has_a_feature_of_one_length(calm: Path) -> None:
    segments = [s for row in rows_of(calm).to_pylist() for s in row["segments"]]
    assert {s["method"] for s in segments} == {"object", "region", "superpixel"}
    (channels,) = {len(s["feature"]) for s in segments}
    assert channels > 5
    assert all(0 < np.linalg.norm(s["feature"]) < 1.001 for s in segments)


def test_the_same_command_again_does_nothing_and_keeps_every_file(
    photographs: Path, calm: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (calm / "shards").iterdir()}
    cell = json.loads((calm / "run.json").read_text())["cell"]
    result = run_segment(configuration(photographs, calm))
    assert (result["images"], result["new_images"]) == (20, 0)
    assert json.loads((calm / "run.json").read_text())["cell"] == cell
    assert {path: path.stat().st_mtime_ns for path in (calm / "shards").iterdir()} == before


def test_a_lost_shard_is_the_only_one_that_is_done_again(
    photographs: Path, calm: Path, tmp_path: Path
) -> None:
    output = Path(shutil.copytree(calm, tmp_path / "out"))
    lost, *_ = sorted((output / "shards").iterdir())
    lost.unlink()
    result = run_segment(configuration(photographs, output))
    assert 0 < result["new_images"] <= 8
    assert rows_of(output).equals(rows_of(calm))


def test_workers_and_batches_do_not_change_a_row(
    photographs: Path, calm: Path, tmp_path: Path
) -> None:
    run_segment(configuration(photographs, tmp_path, num_workers=2, batch_size=3, shard_size=9))
    assert rows_of(tmp_path).equals(rows_of(calm))


def test_a_bucket_gives_the_rows_of_the_folder(
    photographs: Path, calm: Path, s3_server: str, s3_bucket: str
) -> None:
    client = boto3.client("s3", endpoint_url=s3_server)
    for path in photographs.rglob("*.jpg"):
        key = f"in/{path.relative_to(photographs).as_posix()}"
        client.put_object(Bucket=s3_bucket, Key=key, Body=path.read_bytes())
    output = f"s3://{s3_bucket}/out"
    run_segment(configuration(f"s3://{s3_bucket}/in", output, endpoint=s3_server))
    assert rows_of(output, s3_server).equals(rows_of(calm))


def test_odd_images_are_right_and_bad_images_are_typed_errors(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in GOOD.items():
        (folder / name).write_bytes(data)
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    result = run_segment(configuration(folder, tmp_path / "out"))
    assert (result["images"], result["errors"]) == (len(GOOD) + len(BAD), len(BAD))

    assert peak_of_workers() < 2 * 2**30
    rows = {row["key"]: row for row in rows_of(tmp_path / "out").to_pylist()}
    assert {name: rows[name]["error"]["code"] for name in BAD} == {
        name: code for name, (_, code) in BAD.items()
    }
    for name in GOOD:
        size = (WIDTH, HEIGHT) if name == "rotated.jpg" else (HEIGHT, WIDTH)
        assert (rows[name]["height"], rows[name]["width"]) == size, name
        assert rows[name]["error"] is None
        assert rows[name]["segments"][0]["rle"]["size"] == list(size)


def test_instances_of_odd_images_are_right_and_bad_images_are_typed_errors(
    photographs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(photographs / "a", folder)
    for name, data in (GOOD | {name: data for name, (data, _) in BAD.items()}).items():
        (folder / name).write_bytes(data)
    config = dataclasses.replace(
        configuration(folder, tmp_path / "out"), methods=("instances",), keep=("eigenvectors",)
    )
    result = run_segment(config)
    assert (result["images"], result["errors"]) == (10 + len(GOOD) + len(BAD), len(BAD))

    rows = {row["key"]: row for row in rows_of(tmp_path / "out").to_pylist()}
    for name, (_, code) in BAD.items():
        assert rows[name]["error"]["code"] == code
        assert rows[name]["segments"] is None
    good = [row for name, row in rows.items() if name not in BAD]
    assert sum(len(row["segments"]) > 1 for row in good) > 1
    for row in good:
        masks = [coco_mask.decode(s["rle"]) for s in row["segments"]]
        assert (np.sum(masks, axis=0) <= 1).all()
        for mask, segment in zip(masks, row["segments"], strict=True):
            assert segment["method"] == "instance"
            assert mask.shape == (row["height"], row["width"])
            assert mask.sum() == segment["area"] > 0
        scores = [s["score"] for s in row["segments"]]
        assert scores == sorted(scores, reverse=True)

    again = dataclasses.replace(config, output=str(tmp_path / "again"), run=RunConfig(batch_size=7))
    run_segment(again)
    assert rows_of(tmp_path / "again").equals(rows_of(tmp_path / "out"))


def test_a_key_list_decides_what_is_read_and_absent_keys_are_rows(
    photographs: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("b/001.jpg\nno/such.jpg\na/000.jpg\n")
    config = dataclasses.replace(
        configuration(photographs, tmp_path / "out"), images=ImageConfig(keys=str(keys))
    )
    run_segment(config)
    rows = rows_of(tmp_path / "out").to_pylist()
    assert [row["key"] for row in rows] == ["a/000.jpg", "b/001.jpg", "no/such.jpg"]
    assert rows[2]["error"]["code"] == "missing"


def test_limit_takes_the_first_images_and_a_longer_run_replaces_them(
    photographs: Path, calm: Path, tmp_path: Path
) -> None:
    config = configuration(photographs, tmp_path)
    limited = dataclasses.replace(config, images=ImageConfig(limit=3))
    run_segment(limited)
    assert rows_of(tmp_path).equals(rows_of(calm).slice(0, 3))
    run_segment(config)
    query = f"SELECT key FROM '{tmp_path}/shards/*.parquet' ORDER BY key"
    keys = [key for (key,) in duckdb.execute(query).fetchall()]
    assert keys == rows_of(calm)["key"].to_pylist()
    with pytest.raises(UserError, match="of other images than --limit 3"):
        run_segment(limited)


def test_a_fault_that_a_person_can_mend_is_one_line_also_from_a_worker(
    photographs: Path, tmp_path: Path, vit_tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(vit_tiny.read_bytes())
    config = dataclasses.replace(
        configuration(photographs, tmp_path / "out"),
        features=BackboneConfig("vit_tiny_patch16_224", str(weights)),
    )
    start = StreamingPass.run

    def run(self: StreamingPass) -> object:
        state = safetensors.torch.load_file(weights)
        safetensors.torch.save_file({k: v + 1 for k, v in state.items()}, weights)
        return start(self)

    monkeypatch.setattr(StreamingPass, "run", run)
    with pytest.raises(UserError, match="changed since the run began") as caught:
        run_segment(config)
    assert "\n" not in str(caught.value)


def test_kept_eigenvectors_reproduce_the_object(photographs: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(
        configuration(photographs, tmp_path),
        keep=("eigenvectors", "features"),
        images=ImageConfig(limit=4),
        refinement=RefineConfig("none"),
    )
    run_segment(config)
    assert len({len(row["features"]) for row in rows_of(tmp_path).to_pylist()}) == 1
    for row in rows_of(tmp_path).to_pylist():
        shape = (5, row["grid_h"], row["grid_w"])
        fiedler = np.array(row["eigenvectors"], dtype=np.float32).reshape(shape)[1]
        objects = [s["rle"] for s in row["segments"] if s["method"] == "object"]
        mask = coco_mask.decode(coco_mask.merge(objects))
        np.testing.assert_array_equal(mask[8::16, 8::16], fiedler > 0)


def test_crops_of_a_vit_describe_every_segment_by_a_unit_vector(
    photographs: Path, tmp_path: Path, vit_tiny: Path
) -> None:
    config = dataclasses.replace(
        configuration(photographs, tmp_path),
        methods=("regions",),
        describe="crop",
        images=ImageConfig(limit=2),
        features=BackboneConfig("vit_tiny_patch16_224", str(vit_tiny)),
    )
    result = run_segment(config)
    assert (result["images"], result["errors"]) == (2, 0)
    features = [s["feature"] for row in rows_of(tmp_path).to_pylist() for s in row["segments"]]
    assert np.array(features).shape[1] == 192
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3)


def test_crops_of_the_descriptor_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use --describe mean") as caught:
        dataclasses.replace(configuration(tmp_path, tmp_path), describe="crop")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("columns", [EXPORTED, Wanted.columns, REPORTED])
def test_exports_edits_and_reports_do_not_read_features(
    calm: Path, columns: tuple[str, ...]
) -> None:
    store = open_store(str(calm))
    (name, *_) = list_shards(store)
    rows = read_shard(store, name, columns)
    assert rows is not None and "features" not in rows.column_names
    fields = {field.name for field in rows.schema.field("segments").type.value_type}
    assert "rle" in fields and "feature" not in fields


def test_a_dry_run_counts_and_writes_nothing(photographs: Path, tmp_path: Path) -> None:
    priced = configuration(photographs, tmp_path / "out", dry_run=True, hourly_price=7200.0)
    result = run_segment(priced)
    assert (result["images"], result["shards"]) == (20, 3)
    seconds = result["estimated_seconds_on_this_machine"]
    assert result["estimated_cost"] == pytest.approx(2 * seconds, abs=0.11)  # of a second's tenth
    assert result["input_bytes"] == sum(p.stat().st_size for p in photographs.rglob("*.jpg"))
    assert result["estimated_seconds_on_this_machine"] > 0
    assert (result["suffixes"], result["sampled_images"]) == ({".jpg": 20}, 8)
    keys = sorted(path.relative_to(photographs).as_posix() for path in photographs.rglob("*.jpg"))
    assert (result["first_key"], result["last_key"]) == (keys[0], keys[-1])
    assert set(result["seconds_per_image"]) == {"read", "decode", "segment", "masks"}
    assert min(result["seconds_per_image"].values()) >= 0 < result["seconds_per_image"]["masks"]
    assert not (tmp_path / "out").exists()


def test_an_output_inside_the_input_is_refused(photographs: Path) -> None:
    with pytest.raises(UserError, match="outside"):
        run_segment(configuration(photographs, photographs / "out"))


def test_suffixes_decide_what_a_listing_takes_for_an_image(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.JPG", "c.scan"):
        (tmp_path / "in" / name).write_bytes(GOOD["plain.jpg"])
    config = configuration(tmp_path / "in", tmp_path / "out")
    run_segment(dataclasses.replace(config, images=ImageConfig(suffixes=(".scan", ".jpg"))))
    assert rows_of(tmp_path / "out")["key"].to_pylist() == ["a.jpg", "b.JPG", "c.scan"]


def test_another_configuration_is_refused_and_overwrite_replaces_it(
    photographs: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(configuration(photographs, tmp_path), images=ImageConfig(limit=4))
    run_segment(config)
    other = dataclasses.replace(config, methods=("objects",))
    with pytest.raises(UserError, match=r"methods: .* --output, or pass --overwrite"):
        run_segment(other)
    other = dataclasses.replace(other, run=dataclasses.replace(other.run, overwrite=True))
    run_segment(other)
    methods = {s["method"] for row in rows_of(tmp_path).to_pylist() for s in row["segments"]}
    assert methods == {"object"}
