"""COCO's AP and AR, against pycocotools and faster-coco-eval on the whole set at once."""

from __future__ import annotations

import contextlib
import io
import math
import operator
import pickle
from dataclasses import astuple
from functools import reduce

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

from specray.evaluation import (
    AveragePrecision,
    Detections,
    Prediction,
    TrueInstance,
    match_detections,
    replicate_weights,
)
from specray.evaluation.average_precision import Shape
from specray.evaluation.matches import matches_of
from specray.masks import RLE
from tests.evaluation.shards import sums_in_any_order

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


class Flags:
    """What matching says of an image, at random."""

    def __init__(
        self,
        scores: NDArray[np.float64],
        matched: NDArray[np.bool_],
        ignored: NDArray[np.bool_],
        instances: NDArray[np.int64],
    ) -> None:
        self.scores = scores
        self.matched = matched
        self.ignored = ignored
        self.instances = instances

    @staticmethod
    def random(seed: int, distinct: bool = False) -> Flags:
        """Few different scores, or many; sometimes no prediction, sometimes a hundred."""
        generator = np.random.default_rng(seed)
        count = int(generator.choice([0, 1, 6, 14, 100], p=[0.1, 0.1, 0.5, 0.2, 0.1]))
        scores = generator.random(count) if distinct else generator.integers(1, 6, count) / 5
        matched = generator.random((4, 10, count)) < 0.4
        # more instances than are found
        instances = matched.any(axis=1).sum(axis=1) + generator.integers(0, 3, 4)
        ignored = generator.random((4, 10, count)) < 0.2
        return Flags(np.sort(scores)[::-1], matched, ignored, instances)

    def state(self, key: str) -> Detections:
        flags = self.matched, self.ignored, self.instances.tolist()
        return Detections((matches_of(key, self.scores.tolist(), *flags),))


def by_pycocotools(sample: list[Flags]) -> list[float]:
    """Its accumulation alone: AP of all, at 0.50 and 0.75, of three sizes, AR of three limits."""
    evaluation = COCOeval(iouType="segm")
    evaluation.params.useCats = 0
    evaluation.params.imgIds = list(range(len(sample)))
    evaluation._paramsEval = evaluation.params
    evaluation.evalImgs = [
        {
            "dtScores": flags.scores,
            "dtMatches": flags.matched[area],
            "dtIgnore": flags.ignored[area],
            "gtIgnore": np.zeros(flags.instances[area]),
        }
        for area in range(4)
        for flags in sample
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0]  # (T, recalls, A, limits)
    recall = evaluation.eval["recall"][:, 0]  # (T, A, limits)
    by_area = [float(precision[:, :, area, 2].mean()) for area in range(4)]
    fixed = [float(precision[threshold, :, 0, 2].mean()) for threshold in (0, 5)]
    return [by_area[0], *fixed, *by_area[1:], *recall[:, 0].mean(axis=0).tolist()]


def state(images: dict[str, Image], shape: Shape = "rle") -> Detections:
    each = (match_detections(key, *image, shape) for key, image in images.items())
    return sum(each, start=Detections())


@pytest.mark.parametrize("shape", ["rle", "bbox"])
def test_figures_agree_with_faster_coco_eval(shape: Shape) -> None:
    sample = images()
    assert any(each["iscrowd"] for _, truth in sample.values() for each in truth)
    expected = by_faster_coco_eval(sample, shape)
    assert 0 < min(expected) < max(expected) < 1
    assert astuple(state(sample, shape).finish()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_accumulation_agrees_with_pycocotools(seed: int) -> None:
    sample = {f"{each:03}": Flags.random(100 * seed + each) for each in range(40)}
    found = reduce(operator.add, (flags.state(key) for key, flags in sample.items())).finish()
    expected = by_pycocotools(list(sample.values()))
    assert astuple(found) == pytest.approx(expected, abs=1e-12)


def test_figures_are_the_same_however_images_are_divided() -> None:
    states = [Flags.random(each).state(f"{each}") for each in range(50)]
    weights = np.stack([replicate_weights(0, f"{each}", 5) for each in range(50)])
    totals = list(sums_in_any_order(states))
    for total in totals[1:]:
        assert total.keys == totals[0].keys == sorted(f"{each}" for each in range(50))
        assert total.finish() == totals[0].finish()
        first = totals[0].replicates(weights)
        for name, figures in total.replicates(weights).items():
            np.testing.assert_array_equal(figures, first[name])


def test_replicate_in_which_each_image_counts_once_is_the_plain_figure() -> None:
    total = state(images())
    found, plain = total.replicates(np.ones((len(total.keys), 2), dtype=np.int64)), total.finish()
    assert list(found) == ["ap", "ap50", "ar100"]
    for name, figures in found.items():
        assert figures.tolist() == [getattr(plain, name)] * 2


def test_weight_of_an_image_is_how_often_it_is_there() -> None:
    sample = {f"{each:02}": Flags.random(each, distinct=True) for each in range(25)}
    total = reduce(operator.add, (flags.state(key) for key, flags in sample.items()))
    weights = np.stack([replicate_weights(1, key, 8) for key in total.keys])
    assert weights.max() > 2 and (weights == 0).any()
    found = total.replicates(weights)
    for replicate, column in enumerate(weights.T.tolist()):
        copies = [
            sample[key].state(f"{key}, copy {copy}")
            for key, weight in zip(total.keys, column, strict=True)
            for copy in range(weight)
        ]
        repeated = reduce(operator.add, copies).finish()
        for name, figures in found.items():
            assert figures[replicate] == pytest.approx(getattr(repeated, name), abs=1e-12)


def test_replicate_without_instances_is_not_a_number() -> None:
    total = Flags.random(1).state("a") + Flags.random(2).state("b")
    assert np.isnan(total.replicates(np.zeros((2, 1), dtype=np.int64))["ap"]).all()
    assert np.isnan(Detections().replicates(np.ones((0, 3), dtype=np.int64))["ar100"]).all()
    for wrong in (np.ones((3, 1), dtype=np.int64), np.full((2, 1), -1)):
        with pytest.raises(ValueError, match="weights of 2 images"):
            total.replicates(wrong)


def test_state_is_small_and_of_few_parts() -> None:
    total = Detections()
    for each in range(1000):
        matched = np.zeros((4, 10, 6), dtype=np.bool_)
        total += Detections((matches_of(f"{each:012}", [0.5] * 6, matched, matched, [1] * 4),))
    assert len(total.parts) <= 10
    assert len(pickle.dumps(total)) < 1000 * (6 * 24 + 16 + 30)


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


def test_image_is_not_evaluated_twice_in_a_large_set() -> None:
    states = [Flags.random(each).state(f"{each}") for each in range(100)]
    total = reduce(operator.add, states)
    for again in (states[0], states[57], states[3] + states[99]):
        for one, other in ((total, again), (again, total)):
            with pytest.raises(ValueError, match="twice"):
                one + other


def test_standard_output_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(state(images()).finish(), AveragePrecision)
    assert capsys.readouterr().out == ""
