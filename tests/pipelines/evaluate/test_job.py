"""Label maps against ground truth and against each other, on whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import confusion_matrix

from specray.errors import UserError
from specray.pipelines.config import RunConfig
from specray.pipelines.evaluate.agreeing import agreement_of
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.job import run_evaluate
from specray.pipelines.labelled import UNLABELLED, label_map, label_run
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.predict.job import run_predict
from specray.pipelines.truth import TruthConfig
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


def test_scores_are_those_of_all_pixels_together(
    labelled: Path, truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = (str(labelled), str(tmp_path / "scores"))
    config = EvaluateConfig(*where, truth=TruthConfig(str(truth), CLASSES))
    result = run_evaluate(config)
    assert (result["images"], result["without_truth"]) == (IMAGES + 1 - 2, 2)
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())

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
    numbers = [*range(len(scores["ids"])), UNLABELLED]
    oracle = confusion_matrix(found, whole, labels=numbers)[:, :CLASSES]
    assert scores["confusion"] == oracle.tolist()
    assert oracle[-1].sum() > 0  # pixels of the broken image are wrong, whatever the matching
    matched = [
        scores["ids"].index(one["found_as"][0]) if one["found_as"] else None
        for one in scores["classes"]
    ]
    right = [oracle[k, c] if k is not None else 0 for c, k in enumerate(matched)]
    assert scores["accuracy"] == pytest.approx(sum(right) / len(whole))
    iou = [
        right[c] / (oracle[k].sum() + oracle[:, c].sum() - right[c]) if k is not None else 0.0
        for c, k in enumerate(matched)
    ]
    assert [one["iou"] for one in scores["classes"]] == pytest.approx(iou)
    assert scores["miou"] == pytest.approx(np.mean(iou)) == result["miou"]
    assert f"mIoU {100 * result['miou']:.1f} %" in capsys.readouterr().err
    # again: it is read
    assert run_evaluate(config) == result


def test_what_cannot_be_scored_is_refused_in_one_line(
    labelled: Path, truth: Path, tmp_path: Path
) -> None:
    def refused(message: str, folder: Path, classes: int = CLASSES) -> None:
        where = (str(labelled), str(tmp_path / "scores"))
        config = EvaluateConfig(*where, truth=TruthConfig(str(folder), classes))
        with pytest.raises(UserError, match=message) as caught:
            run_evaluate(config)
        assert "\n" not in str(caught.value)

    (tmp_path / "empty").mkdir()
    refused("has ground truth in", tmp_path / "empty")
    small = tmp_path / "small"
    (small / "a").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(small / "a" / "000.png")
    refused("has 4 x 4 pixels, its image 128 x 96", small)
    with pytest.raises(UserError, match="--truth is missing"):
        run_evaluate(EvaluateConfig(str(labelled), str(tmp_path / "scores")))


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
