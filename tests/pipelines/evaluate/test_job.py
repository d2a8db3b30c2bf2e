"""Label maps against ground truth and against each other, on whole runs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import confusion_matrix

from specray.datasets import DatasetConfig
from specray.errors import UserError
from specray.pipelines.config import RunConfig
from specray.pipelines.evaluate.agreeing import agreement_of
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.job import run_evaluate
from specray.pipelines.labelled import UNLABELLED, label_map, label_run
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.predict.job import run_predict
from specray.pipelines.report import ReportConfig, run_report
from specray.tables import read
from tests.pipelines.segmenter.cases import IMAGES

CLASSES, IGNORED = 3, 200


@pytest.fixture(scope="module")
def truth(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all images but two; also of the broken one."""
    folder = tmp_path_factory.mktemp("truth")
    for path in sorted((labelled.parent / "in").rglob("*.jpg"))[2:]:
        levels = np.zeros((96, 128), np.uint8)
        if path.stem != "broken":
            with Image.open(path) as image:
                levels = np.asarray(image.convert("L"))
        classes = np.minimum(levels // 86, CLASSES - 1).astype(np.uint8)
        classes[:5] = IGNORED
        target = (folder / path.relative_to(labelled.parent / "in")).with_suffix(".png")
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(classes).save(target)
    return folder


def maps(labels: Path) -> dict[str, NDArray[np.uint8] | None]:
    ids = label_run(str(labels), None, None).ids
    return {
        row["key"]: None if row["error"] else label_map(row, ids, confidence=False)[0]
        for row in read(str(labels)).to_pylist()
    }


def scored(labels: Path, truth: Path, output: Path, **options: Any) -> EvaluateConfig:
    dataset = DatasetConfig(str(truth), truth_classes=CLASSES)
    options = {"bootstrap": 20, "num_workers": 2} | options
    return EvaluateConfig((str(labels),), str(output), truth=dataset, **options)


def test_scores_are_those_of_all_pixels_together(
    labelled: Path, truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = scored(labelled, truth, tmp_path / "scores")
    result = run_evaluate(config)
    assert (result["images"], result["failed"]) == (IMAGES + 1 - 2, 1)
    assert (result["missing"], result["without_truth"]) == (0, 2)
    (run,) = json.loads((tmp_path / "scores/scores.json").read_text())["runs"]
    semantic = run["semantic"]

    predicted, true = [], []
    for key, labels in maps(labelled).items():
        path = truth / Path(key).with_suffix(".png")
        if path.exists():
            classes = np.asarray(Image.open(path))
            counted = classes != IGNORED
            true.append(classes[counted])
            none = np.full(classes.shape, UNLABELLED)
            predicted.append((none if labels is None else labels)[counted])
    whole, found = np.concatenate(true), np.concatenate(predicted)
    numbers = [*range(len(semantic["found"])), UNLABELLED]
    oracle = confusion_matrix(found, whole, labels=numbers)[:, :CLASSES]
    assert semantic["confusion"] == oracle.tolist()
    assert oracle[-1].sum() > 0  # pixels of the broken image are wrong, whatever the matching
    matched = [
        semantic["found"].index(one["found_as"][0]) if one["found_as"] else None
        for one in semantic["classes"]
    ]
    right = [oracle[k, c] if k is not None else 0 for c, k in enumerate(matched)]
    figures = result["figures"]
    assert figures["semantic.pixels.accuracy"] == pytest.approx(sum(right) / len(whole))
    iou = [
        right[c] / (oracle[k].sum() + oracle[:, c].sum() - right[c]) if k is not None else 0.0
        for c, k in enumerate(matched)
    ]
    assert [one["iou"] for one in semantic["classes"]] == pytest.approx(iou)
    assert figures["semantic.pixels.miou"] == pytest.approx(np.mean(iou))
    figure = run["figures"]["semantic.pixels.accuracy"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert figure["trivial"] == oracle.sum(axis=0).max() / len(whole)
    assert f"{100 * figures['semantic.pixels.miou']:.1f}" in capsys.readouterr().err

    # a row for every image, whose confusions are the whole
    rows = image_rows(tmp_path / "scores")
    assert sorted(rows["key"].to_pylist()) == sorted(
        str(path.relative_to(truth)) for path in truth.rglob("*.png")
    )
    pixels = np.zeros_like(oracle)
    for row in rows.to_pylist():
        for entry in row["semantic.confusion"]:
            pixels[entry["found"], entry["true"]] += entry["pixels"]
    assert pixels.tolist() == oracle.tolist()
    # again: it is read
    assert run_evaluate(config) == result


def image_rows(scores: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(scores.rglob("*.parquet"))])


def test_images_that_predictions_lack_are_wrong_unless_they_are_left_out(
    labelled: Path, truth: Path, tmp_path: Path
) -> None:
    shutil.copytree(truth, tmp_path / "more")
    Image.fromarray(np.zeros((96, 128), np.uint8)).save(tmp_path / "more/a/absent.png")
    wrong = run_evaluate(scored(labelled, tmp_path / "more", tmp_path / "wrong"))
    assert (wrong["images"], wrong["failed"], wrong["missing"]) == (IMAGES, 1, 1)
    config = scored(labelled, tmp_path / "more", tmp_path / "left", partial=True)
    left = run_evaluate(config)
    assert (left["images"], left["failed"], left["missing"]) == (IMAGES - 1, 1, 1)
    name = "semantic.majority.accuracy"
    assert wrong["figures"][name] < left["figures"][name]
    before = run_evaluate(scored(labelled, truth, tmp_path / "before"))
    assert left["figures"] == before["figures"]


def test_several_runs_are_a_mean_and_a_deviation(
    labelled: Path, truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = json.loads((labelled / "run.json").read_text())["configuration"]
    run = RunConfig(shard_size=5, batch_size=2, num_workers=1)
    where = (made["model"], made["input"], str(tmp_path / "refined"))
    run_predict(PredictConfig(*where, refine="fast", run=run))
    one, other = (
        run_evaluate(scored(place, truth, tmp_path / f"scores-{place.name}", bootstrap=0))
        for place in (labelled, tmp_path / "refined")
    )
    config = dataclasses.replace(
        scored(labelled, truth, tmp_path / "both", bootstrap=0),
        input=(str(labelled), str(tmp_path / "refined")),
        published=("semantic.pixels.miou 50 +- 1.5 | somebody, table 1",),
    )
    both = run_evaluate(config)
    name = "semantic.pixels.miou"
    values = [each["figures"][name] for each in (one, other)]
    assert both["figures"][name] == pytest.approx(np.mean(values))
    figure = json.loads((tmp_path / "both/scores.json").read_text())["figures"][name]
    assert figure["sd"] == pytest.approx(np.std(values, ddof=1))
    assert figure["published"]["difference"] == pytest.approx(np.mean(values) - 0.5)
    assert "somebody, table 1" in capsys.readouterr().err
    unknown = dataclasses.replace(config, published=("semantic.corloc 1 | x",), overwrite=True)
    with pytest.raises(UserError, match="there is no such figure"):
        run_evaluate(unknown)


def test_the_report_shows_the_worst_and_the_best(
    labelled: Path, truth: Path, tmp_path: Path
) -> None:
    run_evaluate(scored(labelled, truth, tmp_path / "scores"))
    shown = run_report(ReportConfig(str(tmp_path / "scores"), samples=3))
    assert (shown["images"], shown["cases"], shown["unavailable"]) == (IMAGES - 1, 6, 1)
    page = (tmp_path / "scores/report/index.html").read_text()
    rows = sorted(image_rows(tmp_path / "scores").to_pylist(), key=lambda row: row["semantic.miou"])
    assert page.index("broken") < page.index(rows[1]["key"]) < page.index(rows[-1]["key"])


def test_what_cannot_be_scored_is_refused_in_one_line(
    labelled: Path, truth: Path, tmp_path: Path
) -> None:
    def refused(message: str, config: EvaluateConfig) -> None:
        with pytest.raises(UserError, match=message) as caught:
            run_evaluate(config)
        assert "\n" not in str(caught.value)

    output = tmp_path / "scores"
    (tmp_path / "empty").mkdir()
    refused("ends in .png", scored(labelled, tmp_path / "empty", output))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "empty/other.png")
    refused("no image of .* has ground truth", scored(labelled, tmp_path / "empty", output))
    (tmp_path / "small" / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "small/a/000.png")
    refused("128 x 96 pixels, its ground truth 4 x 4", scored(labelled, tmp_path / "small", output))
    refused("cannot score foreground", scored(labelled, truth, output, tasks=("foreground",)))
    refused("holds nothing to score", scored(tmp_path / "in", truth, output))
    refused("--truth is missing", EvaluateConfig((str(labelled),), str(output)))


def test_the_agreement_of_two_runs_is_that_of_their_pixels_however_they_are_cut(
    labelled: Path, tmp_path: Path
) -> None:
    made = json.loads((labelled / "run.json").read_text())["configuration"]
    run = RunConfig(shard_size=5, batch_size=2, num_workers=1)
    where = (made["model"], made["input"], str(tmp_path / "refined"))
    run_predict(PredictConfig(*where, refine="fast", run=run))
    new, old = (label_run(str(place), None, None) for place in (tmp_path / "refined", labelled))
    assert len(new.run.shards) != len(old.run.shards)
    found = agreement_of(new, old)
    same = pixels = 0
    before = maps(labelled)
    for key, labels in maps(tmp_path / "refined").items():
        if labels is not None:
            same += int((labels == before[key]).sum())
            pixels += labels.size
    assert found.pixels == pixels
    assert found.same == same / pixels < 1
    assert agreement_of(old, old).same == 1
