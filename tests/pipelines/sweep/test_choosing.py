"""The choice is the planted one, and its gain is what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from specray.evaluation import FIXED, ForegroundSums, mean_of_groups
from specray.pipelines.sweep.choosing import Bootstrap, mean_scores
from specray.pipelines.sweep.combinations import Combination, papers_choice
from specray.pipelines.sweep.evidence import Scored, choose, held_out_of, recommended_of
from specray.pipelines.sweep.metrics import SetScores, metrics_of
from specray.pipelines.sweep.scoring import ImageScores

PAPERS = papers_choice(12)
GRID = [Combination(3, "v"), Combination(9), PAPERS, Combination(9, sign="border")]
CHANCE = np.array([0.3, 0.8, 0.4, 0.9, 0.2])  # the last is the trivial answer


def alone(images: int) -> list[str]:
    return [f"{i}.jpg" for i in range(images)]


def drawn(name: str, images: int, chance: NDArray[np.float64], seed: int = 0) -> SetScores:
    random = np.random.default_rng(seed)
    hits = (random.random((images, len(chance))) < chance).astype(np.uint8)
    metrics, units = metrics_of([ImageScores(each, None) for each in hits], alone(images))
    return SetScores(name, metrics, units, images, [])


def test_the_planted_best_leads_if_segment_can_do_it() -> None:
    scored = Scored(GRID, [drawn("a", 200, CHANCE), drawn("b", 100, CHANCE, seed=1)])
    choice = choose(scored, PAPERS, seed=0)
    assert choice.leading == Combination(9)
    assert choice.best == Combination(9, sign="border")
    assert choice.told == [PAPERS, choice.leading, choice.best]
    assert choice.gain.low < 0.4 < choice.gain.high
    assert choice.gain.better == choice.chosen == 1

    unseen = Scored(choice.told, [drawn("c", 400, CHANCE[[2, 1, 3, 4]], seed=2)])
    held_out = held_out_of(unseen, choice, seed=0)
    assert 0.3 < held_out.gain.low < 0.4 < held_out.gain.high
    assert held_out.gain_of_best.mean > held_out.gain.mean
    assert recommended_of(choice, held_out) == recommended_of(choice, None) == choice.leading


def test_what_held_out_images_do_not_confirm_is_not_recommended() -> None:
    choice = choose(Scored(GRID, [drawn("a", 100, CHANCE)]), PAPERS, seed=0)
    worse = Scored(choice.told, [drawn("c", 100, np.array([0.5, 0.2, 0.6, 0.2]))])
    held_out = held_out_of(worse, choice, seed=0)
    assert held_out.gain.mean < 0 < held_out.gain_of_best.mean
    assert recommended_of(choice, held_out) == PAPERS


def test_a_tie_is_the_papers() -> None:
    hits = np.array([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1]], np.uint8)
    metrics, units = metrics_of([ImageScores(each, None) for each in hits], alone(2))
    choice = choose(Scored(GRID, [SetScores("a", metrics, units, 2, [])]), PAPERS, seed=0)
    assert choice.leading == choice.best == PAPERS
    assert choice.told == [PAPERS]
    assert (choice.gain.mean, choice.gain.low, choice.gain.high) == (0, 0, 0)


def test_sets_count_alike_and_in_them_their_metrics() -> None:
    ious = np.array([[FIXED, 0], [0, FIXED]], np.int64)
    hits = np.array([[1, 0], [1, 0]], np.uint8)
    both, units = metrics_of([ImageScores(h, i) for h, i in zip(hits, ious, strict=True)], alone(2))
    one, three = metrics_of([ImageScores(hits[0], None)] * 3, alone(3))
    sets = [SetScores("a", both, units, 2, []), SetScores("b", one, three, 3, [])]
    np.testing.assert_allclose(mean_scores(sets), [(0.75 + 1) / 2, 0.25 / 2])


def test_iou_is_the_mean_over_videos_of_their_means() -> None:
    ious = [0.2, 0.4, 0.9]
    scores = [ImageScores(None, np.array([round(iou * FIXED)])) for iou in ious]
    (metric,), units = metrics_of(scores, ["x", "x", "y"])
    sums = [ForegroundSums(0.6, 0, 0, 2), ForegroundSums(0.9, 0, 0, 1)]
    assert units == ["x", "y"]
    assert metric.scores()[0] == pytest.approx(mean_of_groups(sums).iou)


def test_images_without_truth_or_with_errors_do_not_count() -> None:
    hit = np.array([1, 1], np.uint8)
    scores = [ImageScores(hit, None), ImageScores(None, None), ImageScores(0 * hit, None)]
    (metric,), units = metrics_of(scores, alone(3))
    assert units == alone(3)
    np.testing.assert_allclose(metric.scores(), [0.5, 0.5])


def test_frames_of_a_video_are_no_independent_draws() -> None:
    random = np.random.default_rng(0)
    hits = np.repeat((random.random((8, 2)) < [0.9, 0.3]).astype(np.uint8), 25, axis=0)
    scores = [ImageScores(each, None) for each in hits]
    widths = []
    for groups in (alone(200), [str(i // 25) for i in range(200)]):
        metrics, units = metrics_of(scores, groups)
        gain = Bootstrap([SetScores("a", metrics, units, 200, [])], seed=0).gain(0, 1)
        widths.append(gain.high - gain.low)
    assert widths[1] > 3 * widths[0]


def test_resamples_follow_from_the_seed() -> None:
    sets = [drawn("a", 50, CHANCE)]
    assert Bootstrap(sets, 1).gain(0, 2) == Bootstrap(sets, 1).gain(0, 2)
    assert Bootstrap(sets, 1).gain(0, 2) != Bootstrap(sets, 2).gain(0, 2)
