"""Whole runs of the predict job, on Ray."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from specray.backbones import DescriptorBackbone
from specray.errors import UserError
from specray.pipelines.config import RunConfig
from specray.pipelines.export import ExportConfig, run_export
from specray.pipelines.predict.config import PredictConfig, SelectionConfig
from specray.pipelines.predict.job import run_predict
from specray.pipelines.report import ReportConfig, run_report
from specray.sources import open_store
from specray.tables.reading import read, read_segments
from specray.tables.rows import Row
from specray.tables.schema import PREDICTIONS
from tests.pipelines.photographs import BAD, HEIGHT, WIDTH, write_photographs
from tests.pipelines.predict.cases import (
    CLASSES,
    descriptor_features,
    vit,
    vit_features,
    write_prototypes,
)

pytestmark = pytest.mark.usefixtures("ray_cluster")

NAMES = {"0": "sky", "3": "road"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With photographs, one of them damaged, prototypes, and names for some classes."""
    path = tmp_path_factory.mktemp("predict")
    write_photographs(path / "photographs", 11)
    (path / "photographs" / "a" / "bad.jpg").write_bytes(BAD["truncated.jpg"][0])
    write_prototypes(path / "prototypes.safetensors", DescriptorBackbone(), descriptor_features())
    (path / "names.json").write_text(json.dumps(NAMES))
    return path


def configuration(folder: Path, output: Path, **changes: Any) -> PredictConfig:
    """In small shards, so that a few images make several."""
    run: dict[str, Any] = {"shard_size": 4, "batch_size": 2, "num_workers": 1, "device": "cpu"}
    run |= changes.pop("run", {})
    given: dict[str, Any] = {
        "model": str(folder / "prototypes.safetensors"),
        "input": str(folder / "photographs"),
        "output": str(output),
        "names": str(folder / "names.json"),
    }
    return PredictConfig(**given | changes, run=RunConfig(**run))


@pytest.fixture(scope="module")
def calm(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run."""
    output = tmp_path_factory.mktemp("calm")
    result = run_predict(configuration(folder, output))
    assert (result["job"], result["classes"]) == ("predict", CLASSES)
    assert (result["images"], result["new_images"], result["errors"]) == (12, 12, 1)
    return output


def rows_of(output: Path) -> pa.Table:
    return pa.concat_tables(read_segments(open_store(str(output), None)))


def files_of(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (output / "shards").iterdir()}


def test_every_image_of_the_manifest_has_one_row_also_a_damaged_one(
    folder: Path, calm: Path
) -> None:
    images = folder / "photographs"
    keys = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.jpg"))
    rows = rows_of(calm)
    assert rows["key"].to_pylist() == keys
    assert rows.schema.equals(PREDICTIONS)
    bad = [row for row in rows.to_pylist() if row["error"] is not None]
    assert [(row["key"], row["error"]["code"]) for row in bad] == [("a/bad.jpg", "corrupt")]
    assert bad[0]["segments"] is None
    assert read(str(calm)).equals(rows)


def good_rows(output: Path) -> list[Row]:
    return [row for row in rows_of(output).to_pylist() if row["error"] is None]


def test_masks_of_classes_divide_the_original_image(calm: Path) -> None:
    for row in good_rows(calm):
        covered = np.sum([coco_mask.decode(s["rle"]) for s in row["segments"]], axis=0)
        assert covered.shape == (HEIGHT, WIDTH)
        assert (covered == 1).all()
        for segment in row["segments"]:
            assert segment["method"] == "class"
            assert segment["index"] in range(CLASSES)
            assert 0 < segment["score"] <= 1
        assert (row["points"], row["confidence"]) == (None, None)
    assert len({s["index"] for row in good_rows(calm) for s in row["segments"]}) > 2


def test_the_same_command_again_does_nothing_and_keeps_every_file(folder: Path, calm: Path) -> None:
    before = files_of(calm)
    result = run_predict(configuration(folder, calm))
    assert (result["images"], result["new_images"]) == (12, 0)
    assert files_of(calm) == before


def test_a_run_that_did_not_finish_is_continued_to_the_same_files_by_more_workers(
    folder: Path, calm: Path, tmp_path: Path
) -> None:
    run_predict(configuration(folder, tmp_path, images=SelectionConfig(limit=5)))
    again = configuration(folder, tmp_path, run={"num_workers": 2, "batch_size": 4})
    assert 0 < run_predict(again)["new_images"] < 12
    assert files_of(tmp_path) == files_of(calm)


def test_a_lost_shard_is_the_only_one_that_is_done_again(folder: Path, tmp_path: Path) -> None:
    config = configuration(folder, tmp_path, confidence=True, head="running", refine="none")
    run_predict(config)
    before = files_of(tmp_path)
    lost = min(before)
    (tmp_path / "shards" / lost).unlink()
    result = run_predict(config)
    assert 0 < result["new_images"] <= 4
    assert files_of(tmp_path) == before
    assert all(row["confidence"] for row in good_rows(tmp_path))


def test_a_dry_run_estimates_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    result = run_predict(configuration(folder, tmp_path / "out", run={"dry_run": True}))
    assert (result["job"], result["dry_run"], result["images"]) == ("predict", True, 12)
    assert result["estimated_output_bytes"] > 1000
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_those_of_the_prototypes_are_refused_in_one_line(
    folder: Path, tmp_path: Path, vit_tiny: Path
) -> None:
    path = write_prototypes(tmp_path / "p", vit(vit_tiny), vit_features(vit_tiny))
    other = tmp_path / "other.safetensors"
    other.write_bytes(vit_tiny.read_bytes() + b" ")
    config = configuration(folder, tmp_path / "out", model=str(path), weights=str(other))
    with pytest.raises(UserError, match="were fitted with weights of SHA-256") as caught:
        run_predict(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "reason"), [({"cell": 8}, "cells of 8 pixels"), ({"weights": "00"}, "SHA-256 00")]
)
def test_prototypes_of_other_features_are_refused_before_anything_is_written(
    folder: Path, tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    features = descriptor_features() | changed
    path = write_prototypes(tmp_path / "p", DescriptorBackbone(), features)
    with pytest.raises(UserError, match=reason):
        run_predict(configuration(folder, tmp_path / "out", model=str(path)))
    assert not (tmp_path / "out").exists()


def test_an_output_of_other_settings_or_of_another_job_is_refused(
    folder: Path, calm: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="mirror: True -> False"):
        run_predict(configuration(folder, calm, mirror=False))
    (tmp_path / "run.json").write_text(json.dumps({"job": "segment", "configuration": {}}))
    config = configuration(folder, tmp_path, run={"overwrite": True})
    with pytest.raises(UserError, match="another job"):
        run_predict(config)


def test_the_masks_are_exported_under_the_names_of_their_classes(
    calm: Path, tmp_path: Path
) -> None:
    result = run_export(ExportConfig(str(calm), str(tmp_path), "ids"))
    assert (result["images"], result["skipped"]) == (11, 1)
    table = json.loads((tmp_path / "export.json").read_text())["classes"]
    assert [each["name"] for each in table] == ["sky", "class 1", "class 2", "road", "class 4"]
    for row in good_rows(calm):
        (png,) = tmp_path.rglob(f"{Path(row['key']).with_suffix('').as_posix()}.png")
        pixels = np.asarray(Image.open(png))
        for segment in row["segments"]:
            mask = coco_mask.decode(segment["rle"]).astype(bool)
            assert (pixels[mask] == segment["index"] + 1).all()


def test_there_is_no_hierarchy_to_coarsen_classes_by(calm: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no hierarchy"):
        run_export(ExportConfig(str(calm), str(tmp_path), "ids", classes=3))


def test_the_report_shows_classes_and_maps_and_nothing_of_a_clustering(calm: Path) -> None:
    result = run_report(ReportConfig(str(calm)))
    assert (result["classes"], result["samples"], result["unavailable"]) == (CLASSES, 11, 0)
    page = (calm / "report" / "index.html").read_text()
    assert "road" in page and "specray predict" in page
    assert "silhouette" not in page and "specray label" not in page
    with pytest.raises(UserError, match="--edits belongs to a segment run"):
        run_report(dataclasses.replace(ReportConfig(str(calm)), edits="x"))
