"""COCO's AP and AR, against faster-coco-eval on the whole set at once."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.evaluation import (
    AveragePrecision,
    Detections,
    Prediction,
    TrueInstance,
    match_detections,
)
from specray.evaluation.average_precision import Shape
from specray.masks import RLE

SIDE = 200
Image = tuple[list[Prediction], list[TrueInstance]]


def ellipse(parameters: NDArray[np.float64]) -> RLE:
    """Centre y and x, half axes y and x, in pixels."""
    y, x = np.indices((SIDE, SIDE))
    centre_y, centre_x, height, width = parameters
    inside = ((y - centre_y) / height) ** 2 + ((x - centre_x) / width) ** 2 <= 1
    encoded: RLE = coco_mask.encode(np.asfortranarray(inside, dtype=np.uint8))
    return encoded


def prediction(score: float, rle: RLE) -> Prediction:
    return {"score": score, "rle": rle, "bbox": coco_mask.toBbox(rle).tolist()}


def instance(rle: RLE, iscrowd: int = 0) -> TrueInstance:
    box, area = coco_mask.toBbox(rle).tolist(), float(coco_mask.area(rle))
    return {"rle": rle, "bbox": box, "area": area, "iscrowd": iscrowd}


def random_image(seed: int, misses: int) -> Image:
    """Small to large instances, crowds, near hits and misses, few different scores."""
    generator = np.random.default_rng(seed)
    true = generator.uniform([0, 0, 4, 4], [SIDE, SIDE, 90, 90], (generator.integers(0, 7), 4))
    near = np.maximum(true + generator.normal(0, 3, true.shape), 2)[: generator.integers(0, 7)]
    wrong = generator.uniform([0, 0, 4, 4], [SIDE, SIDE, 40, 40], (misses, 4))
    found = generator.permutation(np.concatenate([near, wrong]))
    return (
        [prediction(float(generator.integers(1, 9)) / 8, ellipse(each)) for each in found],
        [instance(ellipse(each), int(generator.random() < 0.15)) for each in true],
    )


def images() -> dict[str, Image]:
    """By key, in the order of the keys."""
    sample = [random_image(seed, misses=seed % 5) for seed in range(24)]
    crowded = random_image(24, misses=150)  # more than are evaluated
    sample += [crowded, ([], crowded[1]), (crowded[0][:5], []), ([], [])]
    return {f"{number:02}": image for number, image in enumerate(sample)}


def by_faster_coco_eval(images: dict[str, Image], shape: Shape) -> list[float]:
    name = "segmentation" if shape == "rle" else "bbox"
    annotations = [
        {"id": 0, "image_id": int(key), "category_id": 1, **each, name: each[shape]}
        for key, (_, truth) in images.items()
        for each in truth
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    truth = COCO(
        {
            "images": [{"id": int(key), "height": SIDE, "width": SIDE} for key in images],
            "annotations": annotations,
            "categories": [{"id": 1, "name": "object"}],
        }
    )
    found = [
        {"image_id": int(key), "category_id": 1, "score": each["score"], name: each[shape]}
        for key, (predictions, _) in images.items()
        for each in predictions
    ]
    evaluation = COCOeval_faster(truth, truth.loadRes(found), "segm" if shape == "rle" else "bbox")
    evaluation.params.useCats = 0
    evaluation.run()
    return list(evaluation.stats[:9])


def state(images: dict[str, Image], shape: Shape = "rle") -> Detections:
    each = (match_detections(key, *image, shape) for key, image in images.items())
    return sum(each, start=Detections())


@pytest.mark.parametrize("shape", ["rle", "bbox"])
def test_figures_agree_with_faster_coco_eval(shape: Shape) -> None:
    sample = images()
    assert any(each["iscrowd"] for _, truth in sample.values() for each in truth)
    expected = by_faster_coco_eval(sample, shape)
    assert 0 < min(expected) < max(expected) < 1
    assert astuple(state(sample, shape).finish()) == pytest.approx(expected)


def test_score_depends_neither_on_the_order_of_images_nor_on_shards() -> None:
    sample = list(images().items())
    whole = state(dict(sample)).finish()
    odd, even = state(dict(sample[1::2])), state(dict(sample[::2]))
    assert (odd + even).finish() == (even + odd).finish() == whole
    assert state(dict(reversed(sample))).finish() == whole


def test_equal_scores_are_ranked_by_key_then_as_they_come() -> None:
    right, wrong = ellipse(np.array([50, 50, 30, 30])), ellipse(np.array([120, 120, 9, 9]))
    hit, miss = prediction(0.5, right), prediction(0.5, wrong)
    truth = [instance(right)]
    assert match_detections("a", [hit, miss], truth, "rle").finish().ap == pytest.approx(1)
    assert match_detections("a", [miss, hit], truth, "rle").finish().ap == pytest.approx(0.5)
    apart = match_detections("b", [hit], truth, "rle"), match_detections("a", [miss], [], "rle")
    assert (apart[0] + apart[1]).finish().ap == pytest.approx(0.5)


def test_crowd_is_neither_to_be_found_nor_wrong_to_find() -> None:
    one, crowd = ellipse(np.array([40, 40, 30, 30])), ellipse(np.array([120, 120, 35, 35]))
    inside = [prediction(0.9, ellipse(np.array([y, 120, 9, 9]))) for y in (105, 135)]
    truth = [instance(one), instance(crowd, iscrowd=1)]
    score = match_detections("a", [*inside, prediction(0.1, one)], truth, "rle").finish()
    assert (score.ap, score.ar100) == pytest.approx((1, 1))


def test_nothing_found_scores_zero_and_nothing_to_find_is_not_a_number() -> None:
    truth = [instance(ellipse(np.array([80, 80, 10, 10])))]
    missed = match_detections("a", [], truth, "bbox").finish()
    assert missed.ap == missed.ap50 == missed.ar100 == 0
    assert math.isnan(missed.ap_large)
    found = match_detections("a", [prediction(1, truth[0]["rle"])], [], "bbox")
    for nothing in (found, Detections()):
        assert all(math.isnan(figure) for figure in astuple(nothing.finish()))


def test_image_is_not_evaluated_twice() -> None:
    once = match_detections("a.jpg", *random_image(0, misses=1), "rle")
    with pytest.raises(ValueError, match=r"twice: 'a\.jpg'"):
        once + once


def test_standard_output_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(state(images()).finish(), AveragePrecision)
    assert capsys.readouterr().out == ""
