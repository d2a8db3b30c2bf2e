"""The whole road as one job: what it ends with, and what it does when it is begun again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from specray.backbones import BackboneConfig
from specray.datasets import DatasetConfig
from specray.errors import UserError
from specray.masks import RefineConfig, SuperpixelConfig
from specray.pipelines.config import RunConfig, SegmentConfig, WorkersConfig
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.labels.config import LabelConfig
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.report import ReportConfig, run_report
from specray.pipelines.road.config import PipelineConfig, RoadConfig
from specray.pipelines.road.job import run_pipeline
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.semantics import ClusterConfig
from specray.semantics.segmenter.config import NetworkConfig, SegmenterConfig
from specray.sources import open_store
from specray.tables import read
from specray.tables.run import read_run
from tests.pipelines.photographs import encode, photograph, write_photographs
from tests.pipelines.segmenter.cases import ENCODER, write_encoder

IMAGES, CLASSES = 12, 3


def write_truth(photographs: Path, folder: Path) -> None:
    """Bright and dark pixels."""
    for path in photographs.rglob("*.jpg"):
        with Image.open(path) as image:
            bright = (np.asarray(image.convert("L")) > 127).astype(np.uint8)
        target = (folder / path.relative_to(photographs)).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bright).save(target)


def config(folder: Path, **road: Any) -> PipelineConfig:
    run = RunConfig(shard_size=8, batch_size=4, num_workers=1)
    coarse = RefineConfig("none")
    return PipelineConfig(
        RoadConfig(str(folder / "in"), str(folder / "out"), seed=1, **road),
        segment=SegmentConfig(
            "",
            "",
            methods=("superpixels",),
            features=BackboneConfig(backbone="descriptor"),
            superpixels=SuperpixelConfig(12),
            refinement=coarse,
            run=run,
        ),
        label=LabelConfig("", "", clusters=ClusterConfig(classes=CLASSES), refinement=coarse),
        train_segmenter=TrainSegmenterConfig(
            "",
            "",
            weights=str(folder / "encoder.safetensors"),
            workers=WorkersConfig(num_workers=1),
            network=NetworkConfig("vit-linear", ENCODER),
            training=SegmenterConfig(steps=3, batch=4, short_side=64, crop=48),
        ),
        predict=PredictConfig("", "", "", refine="none", mirror=False, run=run),
        evaluate=EvaluateConfig(
            (), "", truth=DatasetConfig(str(folder / "truth"), truth_classes=2), bootstrap=0
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_road_is_one_job_that_goes_on_where_it_was(
    ray_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photographs(tmp_path / "in", IMAGES)
    write_truth(tmp_path / "in", tmp_path / "truth")
    write_encoder(tmp_path / "encoder.safetensors")
    first = run_pipeline(config(tmp_path))
    assert (first["images"], first["errors"], first["classes"]) == (IMAGES, 0, CLASSES)
    assert first["rounds"] == len(first["agreement"]) == len(first["classes_lost"]) == 1
    # three batches teach little: whether the round is taken is no matter here
    place = "out/round-1/labels" if first["taken"] else "out/labels"
    assert first["labels"] == str(tmp_path / place)
    assert [each["round"] for each in first["by_ground_truth"]] == [0, 1]

    page = (tmp_path / "out/report/index.html").read_text()
    shown = (tmp_path / "out/report/pictures").iterdir()
    pictures = {path.name.rpartition("-")[2] for path in shown}
    assert pictures == {"photograph.webp", "before.webp", "after.webp"}
    for address in ("../segments", "../labels", "../round-1/labels"):
        assert f'href="{address}/report/index.html"' in page
        assert (tmp_path / "out/report" / address / "report/index.html").exists()

    # again: nothing is done
    capsys.readouterr()
    network = tmp_path / "out/round-1/segmenter/segmenter.safetensors"
    before = network.read_bytes()
    again = run_pipeline(config(tmp_path))
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert capsys.readouterr().err.count(" 0 shards with 0 images to do") == 3

    # an image more: it is segmented, labelled and predicted; the network stays
    (tmp_path / "in/c.png").write_bytes(encode(photograph(99), "PNG"))
    more = run_pipeline(config(tmp_path))
    assert more["images"] == IMAGES + 1
    assert network.read_bytes() == before
    assert "--retrain trains anew" in capsys.readouterr().err
    assert "c.png" in read(more["labels"], columns=["key"])["key"].to_pylist()
    scores = json.loads((tmp_path / "out/scores/scores.json").read_text())
    assert (scores["images"], scores["without_truth"]) == (IMAGES, 1)

    # unless they are to be trained anew, and then what they predict is, too
    anew = run_pipeline(config(tmp_path, retrain=True))
    assert network.read_bytes() != before
    assert anew["images"] == IMAGES + 1
    record = read_run(open_store(str(tmp_path / "out/round-1/segmenter")))
    assert record is not None and record["result"]["images"] == IMAGES + 1


def test_segments_alone_are_scored_for_every_seed_and_together(
    ray_cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photographs(tmp_path / "in", 5)
    write_truth(tmp_path / "in", tmp_path / "truth")
    given = config(tmp_path, labels="none", rounds=0, seeds=(3, 4))
    given = dataclasses.replace(
        given,
        segment=dataclasses.replace(given.segment, methods=("objects",)),
        evaluate=EvaluateConfig(
            (),
            "",
            truth=DatasetConfig(str(tmp_path / "truth"), "masks"),
            bootstrap=0,
            published=("foreground.iou 51.4 | Table 2; from memory, unverified",),
        ),
    )
    result = run_pipeline(given)
    assert set(result["seeds"]) == {"3", "4"}
    each = [one["figures"]["foreground.iou"] for one in result["seeds"].values()]
    assert result["figures"]["foreground.iou"] == pytest.approx(np.mean(each))
    scores = json.loads((tmp_path / "out/scores/scores.json").read_text())
    assert scores["figures"]["foreground.iou"]["published"]["value"] == 0.514
    assert "from memory, unverified" in capsys.readouterr().err
    with pytest.raises(UserError, match="has no labels before and after"):
        run_report(ReportConfig(str(tmp_path / "out")))
