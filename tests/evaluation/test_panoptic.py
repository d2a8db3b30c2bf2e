"""Panoptic quality, against loops over segments written from the definition."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, fields
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from specray.evaluation import (
    PanopticScore,
    PanopticSums,
    confusion,
    hungarian_by_pixels,
    panoptic,
)
from tests.evaluation.shards import sums_in_any_order

VOID = 0
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Image:
    predicted: Ids
    categories: dict[int, int]
    truth: Ids
    classes: dict[int, int]
    crowds: frozenset[int]

    def sums(self, k: int, c: int) -> PanopticSums:
        maps = self.predicted, self.categories, self.truth, self.classes
        return panoptic(*maps, sizes=(k, c), crowds=self.crowds)

    def agnostic(self) -> Image:
        categories, classes = dict.fromkeys(self.categories, 0), dict.fromkeys(self.classes, 0)
        return Image(self.predicted, categories, self.truth, classes, self.crowds)


def random_image(seed: int, k: int, c: int) -> Image:
    """Segments in cells, of which many are predicted, some shifted or merged; void and crowds."""
    random = np.random.default_rng(seed)
    cells = np.kron(random.integers(0, 13, (4, 5)), np.ones((5, 5), dtype=np.int64))
    noise = random.integers(0, 13, cells.shape)
    truth = np.where(random.random(cells.shape) < 0.1, VOID, cells)
    renamed = random.permutation(np.arange(13)) + 100
    merged = np.where(random.random(13) < 0.2, random.integers(0, 13, 13), np.arange(13))
    predicted = np.where(random.random(cells.shape) < 0.15, noise, merged[cells])
    predicted = np.where(random.random(cells.shape) < 0.1, VOID, renamed[predicted])
    classes = {each: int(random.integers(0, c)) for each in range(1, 13)}
    categories = {int(renamed[each]): classes.get(each, 0) % k for each in range(13)}
    for each in random.permutation(list(categories))[:3].tolist():
        categories[each] = int(random.integers(0, k))
    crowds = frozenset(each for each in classes if random.random() < 0.2)
    return Image(predicted, categories, truth, classes, crowds)


def by_definition(images: list[Image], to_class: list[int], c: int) -> list[list[float]]:
    """(C, 3) PQ, SQ, RQ of each class: segment by segment, as the paper and its evaluation do."""
    tp, fp, fn, iou = ([0.0] * c for _ in range(4))
    for image in images:
        p, t = image.predicted, image.truth
        void = ~np.isin(t, list(image.classes))
        segments = [(i, to_class[image.categories[i]]) for i in np.unique(p) if i != VOID]
        truths = [(i, image.classes[i]) for i in np.unique(t) if i != VOID]
        used_p, used_t = set(), set()
        for (i, kind), (j, true) in product(segments, truths):
            if kind != true or j in image.crowds:
                continue
            both = np.count_nonzero((p == i) & (t == j))
            union = np.count_nonzero(((p == i) & ~void) | (t == j))
            if both / union > 0.5:
                assert i not in used_p and j not in used_t
                used_p.add(i)
                used_t.add(j)
                tp[kind] += 1
                iou[kind] += both / union
        for j, true in truths:
            fn[true] += j not in used_t and j not in image.crowds
        for i, kind in segments:
            if i in used_p or kind < 0:
                continue
            crowd = np.isin(t, [j for j, true in truths if true == kind and j in image.crowds])
            fp[kind] += (void | crowd)[p == i].mean() <= 0.5
    figures = []
    for each in range(c):
        weight = tp[each] + fp[each] / 2 + fn[each] / 2
        sq = iou[each] / tp[each] if tp[each] else 0.0
        pair = [iou[each] / weight, sq, tp[each] / weight] if weight else [math.nan] * 3
        figures.append(pair)
    return figures


def add_up(images: list[Image], k: int, c: int) -> PanopticSums:
    *_, last = sums_in_any_order([image.sums(k, c) for image in images], ways=1)
    return last


@pytest.mark.parametrize(("k", "c"), [(4, 4), (6, 3), (2, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_quality_agrees_with_the_definition(seed: int, k: int, c: int) -> None:
    images = [random_image(10 * seed + number, k, c) for number in range(8)]
    sums = add_up(images, k, c)
    found = hungarian_by_pixels(sums.pixels)
    turned = np.roll(found, 1)
    many = np.arange(k) % c
    for matching in (found, turned, many):
        expected = np.array(by_definition(images, matching.tolist(), c))
        scores = sums.finish(matching)
        figures = np.array([astuple(each) for each in scores.classes])
        np.testing.assert_allclose(figures, expected, atol=1e-9)
        np.testing.assert_allclose(astuple(scores.all), np.nanmean(expected, axis=0), atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_class_agnostic_quality_is_that_of_a_single_class(seed: int) -> None:
    images = [random_image(seed + 50 * number, 4, 3).agnostic() for number in range(5)]
    (expected,) = by_definition(images, [0], 1)
    scores = add_up(images, 1, 1).finish(np.array([0]))
    assert astuple(scores.all) == pytest.approx(expected, abs=1e-9)
    assert 0 < scores.all.pq < 1


def test_cases_hold_all_that_is_special() -> None:
    images = [random_image(seed, 4, 4) for seed in range(8)]
    sums = add_up(images, 4, 4)
    assert sums.ignorable.any() and (sums.pixels[-1] > 0).any()
    assert np.count_nonzero(sums.pairs) > np.count_nonzero(sums.pairs.diagonal()) > 0
    assert any(image.crowds for image in images)


def test_sums_are_the_same_however_images_are_divided() -> None:
    states = [random_image(seed, 5, 3).sums(5, 3) for seed in range(20)]
    totals = list(sums_in_any_order(states))
    for total, each in product(totals[1:], fields(PanopticSums)):
        np.testing.assert_array_equal(getattr(total, each.name), getattr(totals[0], each.name))
        assert getattr(total, each.name).dtype == np.int64


def test_pixels_are_the_confusion_of_the_semantic_maps() -> None:
    image = random_image(0, 5, 3)
    semantic = np.vectorize(lambda each: image.categories.get(each, -1))(image.predicted)
    true = np.vectorize(lambda each: image.classes.get(each, 255))(image.truth)
    expected = confusion(semantic, true, 5, 3, ignore=255)
    np.testing.assert_array_equal(image.sums(5, 3).pixels, expected)


def test_perfect_map_scores_one_whatever_its_categories() -> None:
    image = random_image(1, 4, 4)
    crowdless = Image(image.truth, image.classes, image.truth, image.classes, frozenset())
    order = np.array([2, 0, 3, 1])
    renamed = {each: int(order[kind]) for each, kind in image.classes.items()}
    sums = Image(image.truth, renamed, image.truth, image.classes, frozenset()).sums(4, 4)
    assert sums.finish(hungarian_by_pixels(sums.pixels)).all == PanopticScore(1, 1, 1)
    assert crowdless.sums(4, 4).finish(np.arange(4)).all == PanopticScore(1, 1, 1)


def line(predicted: list[int], truth: list[int], crowds: frozenset[int] = frozenset()) -> Image:
    """One segment of class 0 per id above 0."""
    p, t = np.array([predicted]), np.array([truth])
    categories, classes = (dict.fromkeys(np.unique(each[each > 0]).tolist(), 0) for each in (p, t))
    return Image(p, categories, t, classes, crowds)


def counts(image: Image) -> tuple[int, int, int]:
    """Right, wrong and missed."""
    sums = image.sums(1, 1)
    right = sums.pairs.item()
    return right, (sums.predicted - sums.ignorable).item() - right, sums.true.item() - right


def test_half_an_overlap_is_no_pair() -> None:
    assert counts(line([7, 0], [1, 1])) == (0, 1, 1)
    assert counts(line([7, 7, 0], [1, 1, 1])) == (1, 0, 0)


def test_void_is_in_no_union_and_hides_what_mostly_lies_in_it() -> None:
    assert counts(line([7, 7, 7, 7], [1, 0, 0, 0])) == (1, 0, 0)
    assert counts(line([7, 7, 7, 8], [0, 0, 1, 1])) == (0, 1, 1)  # IoU of 7 is exactly 1/2
    assert counts(line([7, 7, 7, 0, 0], [0, 0, 1, 1, 1])) == (0, 0, 1)
    assert counts(line([7, 7, 0, 0], [0, 1, 1, 1])) == (0, 1, 1)  # half of it is not most of it


def test_crowd_is_never_missed_and_hides_its_class_alone() -> None:
    crowded = line([7, 7, 8, 0], [1, 1, 1, 1], frozenset({1}))
    assert counts(crowded) == (0, 0, 0)
    assert math.isnan(crowded.sums(1, 1).finish(np.array([0])).all.pq)
    other = Image(
        crowded.predicted, {7: 1, 8: 0}, crowded.truth, crowded.classes, crowded.crowds
    ).sums(2, 2)
    scores = other.finish(np.array([0, 1]))
    assert scores.classes[1] == PanopticScore(0, 0, 0)  # wrong: the crowd is of class 0
    assert other.finish(np.array([1, 0])).classes[1] == PanopticScore(0, 0, 0)


def test_categories_without_a_class_are_left_out() -> None:
    image = line([7, 7, 8, 8], [1, 1, 2, 2])
    sums = Image(image.predicted, {7: 0, 8: 1}, image.truth, image.classes, frozenset()).sums(2, 1)
    scores = sums.finish(np.array([0, -1]))
    assert scores.all == PanopticScore(pq=2 / 3, sq=1, rq=2 / 3)


def test_things_and_stuff_have_means_of_their_own() -> None:
    image = random_image(3, 3, 3)
    scores = image.sums(3, 3).finish(np.arange(3), things=np.array([True, False, False]))
    assert scores.things == scores.classes[0]
    stuff = np.mean([astuple(each) for each in scores.classes[1:]], axis=0)
    assert scores.stuff is not None and astuple(scores.stuff) == pytest.approx(stuff.tolist())
    plain = image.sums(3, 3).finish(np.arange(3))
    assert plain.things is plain.stuff is None and plain.all == scores.all


def test_quality_of_a_class_is_the_product_of_its_parts() -> None:
    for seed, matching in product(range(5), (np.arange(4), np.array([1, 0, -1, 2]))):
        for score in random_image(seed, 4, 4).sums(4, 4).finish(matching).classes:
            assert math.isnan(score.pq) or score.pq == pytest.approx(score.sq * score.rq)


def test_what_does_not_fit_is_refused() -> None:
    image = line([7, 7], [1, 0])
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        panoptic(image.predicted, {}, np.zeros((1, 3), dtype=np.int64), {}, sizes=(1, 1))
    with pytest.raises(ValueError, match=r"\[1\] are not in \[0, 1\)"):
        panoptic(image.predicted, {7: 1}, image.truth, {1: 0}, sizes=(1, 1))
    sums = image.sums(1, 1)
    for wrong in (np.array([1]), np.array([-2]), np.array([0, 0])):
        with pytest.raises(ValueError, match="1 categories to 1 classes"):
            sums.finish(wrong)
    with pytest.raises(ValueError, match=r"\(1, 1\), \(2, 1\)"):
        sums + image.sums(2, 1)
