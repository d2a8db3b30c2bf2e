"""What other tools have written, scored by the same job as our own tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from specray.datasets import DatasetConfig
from specray.errors import UserError
from specray.evaluation import box_iou
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.job import run_evaluate
from specray.pipelines.evaluate.predictions import coco
from specray.sources import open_store
from tests.pipelines.evaluate.cases import (
    KEYS,
    SIZE,
    as_dataset,
    found_masks,
    results,
    true_masks,
    write_coco,
    write_maps,
)


def figures(config: EvaluateConfig) -> dict[str, float]:
    found: dict[str, float] = run_evaluate(config)["figures"]
    return found


def coco_config(folder: Path, found: Any, **options: Any) -> EvaluateConfig:
    """Predictions in a file against `write_coco`."""
    path = folder / "found.json"
    path.write_text(json.dumps(found))
    truth = DatasetConfig(str(write_coco(folder)), "coco-json")
    options = {"bootstrap": 0, "num_workers": 2} | options
    return EvaluateConfig((str(path),), str(folder / "scores"), truth=truth, **options)


def pycocotools(truth: Path, found: list[dict[str, Any]], kind: str) -> list[float]:
    """AP, AP50, AP75, small, medium, large, AR1, AR10, AR100, without categories."""
    known = COCO(str(truth))
    # without categories it still passes over predictions of such as the ground truth does not have
    alike = [each | {"category_id": 1} for each in found]
    if kind == "segm":  # else it takes areas from the boxes
        alike = [{k: v for k, v in each.items() if k != "bbox"} for each in alike]
    evaluation = COCOeval(known, known.loadRes(alike), kind)
    evaluation.params.useCats = 0
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats: list[float] = evaluation.stats[:9].tolist()
    return stats


NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100")


def test_ap_of_a_coco_json_is_that_of_pycocotools(ray_cluster: None, tmp_path: Path) -> None:
    found = figures(coco_config(tmp_path, as_dataset(results())))
    for shape, kind in (("mask", "segm"), ("box", "bbox")):
        oracle = pycocotools(tmp_path / "truth.json", results(), kind)
        ours = [found[f"instances.{shape}_{name}"] for name in NAMES]
        known = [-1 if value is None else value for value in ours]
        assert known == pytest.approx(oracle, abs=1e-12)
    assert found["instances.mask_ap50"] > 0.3


def test_a_list_of_results_goes_by_the_ids_of_the_ground_truth(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    named = figures(coco_config(tmp_path / "one", as_dataset(results())))
    listed = figures(coco_config(tmp_path / "other", results()))
    assert listed == named


def test_boxes_alone_are_scored_as_boxes(ray_cluster: None, tmp_path: Path) -> None:
    found = figures(coco_config(tmp_path, as_dataset(results(boxes=True))))
    assert set(found) == {"localisation.corloc", *(f"instances.box_{name}" for name in NAMES)}
    oracle = pycocotools(tmp_path / "truth.json", results(boxes=True), "bbox")
    assert found["instances.box_ap"] == pytest.approx(oracle[0], abs=1e-12)
    hits = []
    for key in KEYS:  # the surest box, the first of those that are equally sure
        best = max(found_masks(key), key=lambda each: each[1], default=None)
        boxes = [_box(mask) for mask in true_masks(key)]
        hits.append(best is not None and box_iou(_box(best[0]), boxes).max() >= 0.5)
    assert found["localisation.corloc"] == pytest.approx(np.mean(hits))


def _box(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_masks_in_pngs_are_scored_as_scikit_learn_scores_them(
    ray_cluster: None, tmp_path: Path
) -> None:
    true = {key: np.any(true_masks(key), axis=0).astype(np.uint8) * 255 for key in KEYS}
    soft = {
        key: np.max([np.zeros(SIZE), *(255 * score * mask for mask, score in found_masks(key))], 0)
        for key in KEYS
    }
    found_in = write_maps(tmp_path / "found", {k: v.astype(np.uint8) for k, v in soft.items()})
    truth = DatasetConfig(str(write_maps(tmp_path / "truth", true)), "masks")
    output = tmp_path / "scores"
    config = EvaluateConfig((str(found_in),), str(output), truth=truth, num_workers=2, bootstrap=50)
    found = figures(config)
    pairs = {key: (soft[key].astype(np.uint8) > 127, true[key] > 0) for key in KEYS}
    for name, oracle in (
        ("iou", jaccard_score),
        ("accuracy", accuracy_score),
        ("f1", f1_score),
    ):
        each = {key: oracle(t.ravel(), p.ravel()) for key, (p, t) in pairs.items()}
        assert found[f"foreground.{name}"] == pytest.approx(np.mean(list(each.values())), abs=1e-9)
        groups = [[v for k, v in each.items() if k.startswith(g)] for g in ("cows", "dogs")]
        mean = np.mean([np.mean(group) for group in groups])
        assert found[f"foreground.{name}_over_groups"] == pytest.approx(mean, abs=1e-9)
    scores = json.loads((output / "scores.json").read_text())["figures"]["foreground.iou"]
    assert scores["low"] < scores["value"] < scores["high"]  # two groups: drawn as wholes


def test_predictions_ground_truth_and_scores_may_be_in_a_bucket(
    ray_cluster: None, tmp_path: Path, s3_server: str, s3_bucket: str
) -> None:
    true = {key: np.any(true_masks(key), axis=0).astype(np.uint8) * 255 for key in KEYS}
    places = {
        "found": write_maps(tmp_path / "found", {k: np.roll(v, 3, 1) for k, v in true.items()}),
        "truth": write_maps(tmp_path / "truth", true),
    }
    found = figures(
        EvaluateConfig(
            (str(places["found"]),),
            str(tmp_path / "scores"),
            truth=DatasetConfig(str(places["truth"]), "masks"),
            bootstrap=5,
        )
    )
    bucket = {name: open_store(f"s3://{s3_bucket}/{name}", s3_server) for name in places}
    for name, folder in places.items():
        for path in folder.rglob("*.png"):
            bucket[name].write(str(path.relative_to(folder)), path.read_bytes())
    config = EvaluateConfig(
        (f"s3://{s3_bucket}/found",),
        f"s3://{s3_bucket}/scores",
        truth=DatasetConfig(f"s3://{s3_bucket}/truth", "masks"),
        bootstrap=5,
        endpoint=s3_server,
    )
    assert figures(config) == found
    assert figures(config) == found  # read again


def test_maps_of_classes_in_pngs_need_to_be_told_how_many_there_are(
    ray_cluster: None, tmp_path: Path
) -> None:
    true = {key: np.any(true_masks(key), axis=0).astype(np.uint8) for key in KEYS}
    turned = {key: 1 - mask for key, mask in true.items()}
    turned[KEYS[0]][:10] = 255  # nothing is said of these
    found_in = write_maps(tmp_path / "found", turned)
    truth = DatasetConfig(str(write_maps(tmp_path / "truth", true)), truth_classes=2)
    where = ((str(found_in),), str(tmp_path / "scores"))
    with pytest.raises(UserError, match="the predictions have boxes, mask"):
        run_evaluate(EvaluateConfig(*where, truth=truth))
    config = EvaluateConfig(*where, truth=truth, input_classes=2, bootstrap=0, num_workers=1)
    accuracy = 1 - 10 * SIZE[1] / (len(KEYS) * SIZE[0] * SIZE[1])
    assert figures(config)["semantic.pixels.accuracy"] == pytest.approx(accuracy)


def test_a_panoptic_export_against_itself_is_perfect(ray_cluster: None, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    images, annotations = [], []
    for i, key in enumerate(KEYS):
        ids = np.zeros((*SIZE, 3), np.uint8)
        for number, mask in enumerate(true_masks(key), start=1):
            ids[mask, 0] = number
        write_maps(folder / "panoptic", {key: ids})
        name = key.replace(".jpg", ".png")
        numbers = [n for n in np.unique(ids[..., 0]).tolist() if n]
        segments = [{"id": n, "category_id": 1 + n % 2, "iscrowd": 0} for n in numbers]
        images.append({"id": i, "file_name": key, "height": SIZE[0], "width": SIZE[1]})
        annotations.append({"image_id": i, "file_name": name, "segments_info": segments})
    categories = [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "panoptic.json").write_text(json.dumps(tree))
    truth = tmp_path / "truth"
    (truth / "annotations").mkdir(parents=True)
    (folder / "panoptic").rename(truth / "annotations/panoptic_val2017")
    (truth / "annotations/panoptic_val2017.json").write_text(json.dumps(tree))
    (folder / "panoptic").symlink_to(truth / "annotations/panoptic_val2017")
    config = EvaluateConfig(
        (str(folder),),
        str(tmp_path / "scores"),
        truth=DatasetConfig(str(truth), "coco-panoptic"),
        bootstrap=0,
        num_workers=1,
    )
    found = figures(config)
    assert {found[f"panoptic.{name}"] for name in ("pq", "sq", "rq", "agnostic_pq")} == {1.0}
    assert found["semantic.pixels.miou"] == 1.0


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"x": 1}, "is no COCO JSON"),
        ([{"image_id": 3, "segmentation": {"counts": 5}, "score": 1}], "is no COCO annotation"),
        ([{"image_id": 99, "bbox": [0, 0, 1, 1], "score": 1}], "has ground truth in"),
    ],
)
def test_a_file_that_is_no_predictions_is_refused_in_one_line(
    ray_cluster: None, tmp_path: Path, found: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run_evaluate(coco_config(tmp_path, found))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 5, 64])
def test_scores_are_the_same_however_images_are_cut(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(coco, "IMAGES_PER_PIECE", size)
    config = coco_config(tmp_path, as_dataset(results()), bootstrap=30, num_workers=1 + size % 2)
    run_evaluate(config)
    scores = json.loads((tmp_path / "scores/scores.json").read_text())
    assert len(list((tmp_path / "scores/images/0").iterdir())) == -(-len(KEYS) // size)
    everything = json.dumps([scores["figures"], scores["images"]])
    assert KNOWN.setdefault("everything", everything) == everything


KNOWN: dict[str, str] = {}
"""What the first of the sizes has found."""
