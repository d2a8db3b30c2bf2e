"""Scores of segments, against loops over patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from specray.masks import objectness
from specray.masks.instances.objectness import RING
from tests.masks.instances.scenes import things

Masks = NDArray[np.bool_]
GRID = (8, 10)


def unit_features(grid: tuple[int, int], channels: int = 6, seed: int = 0) -> NDArray[np.float32]:
    """Of positive cosine on the whole, as a ViT's are."""
    features = np.random.default_rng(seed).normal(0.5, 1, (grid[0] * grid[1], channels))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32)


def random_masks(grid: tuple[int, int], count: int = 12, seed: int = 0) -> Masks:
    """Rectangles, with a few patches more or less."""
    rng = np.random.default_rng(seed)
    masks = rng.random((count, *grid)) < 0.05
    for mask in masks:
        top, left = rng.integers(0, grid[0]), rng.integers(0, grid[1])
        mask[top : top + rng.integers(1, 6), left : left + rng.integers(1, 6)] ^= True
    return masks[masks.any(axis=(1, 2))]


def by_loops(features: NDArray[np.float32], mask: Masks) -> float:
    """The score of one segment, patch by patch."""
    h, w = mask.shape
    mean = {True: np.zeros(features.shape[1]), False: np.zeros(features.shape[1])}
    border = inner = 0
    for y, x in np.ndindex(h, w):
        near = mask[max(y - RING, 0) : y + RING + 1, max(x - RING, 0) : x + RING + 1].any()
        if near:
            mean[bool(mask[y, x])] += features[y * w + x]
        for other_y, other_x in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if mask[y, x] and not (0 <= other_y < h and 0 <= other_x < w):
                border += 1
            elif mask[y, x] and not mask[other_y, other_x]:
                inner += 1
    lengths = np.linalg.norm(mean[True]) * np.linalg.norm(mean[False])
    contrast = 1 - mean[True] @ mean[False] / lengths if lengths > 0 else 0
    share = inner / (inner + border)
    return float(np.clip(contrast, 0, 1) * share * np.sqrt(np.sqrt(mask.sum() / mask.size)))


@pytest.mark.parametrize("grid", [GRID, (3, 4), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_loops_over_patches(grid: tuple[int, int], seed: int) -> None:
    features, masks = unit_features(grid, seed=seed), random_masks(grid, seed=seed)
    expected = [by_loops(features, mask) for mask in masks]
    np.testing.assert_allclose(objectness(features, masks), expected, atol=1e-6)


@given(
    arrays(np.bool_, (4, 5, 6)).filter(lambda masks: bool(masks.any(axis=(1, 2)).all())),
    arrays(np.float32, (30, 3), elements=st.sampled_from([-1, 0, 1])),
)
@settings(deadline=None)
def test_scores_lie_between_0_and_1(masks: Masks, features: NDArray[np.float32]) -> None:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scores = objectness(features / np.maximum(lengths, 1), masks)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_whole_image_is_no_object() -> None:
    assert objectness(unit_features(GRID), np.ones((1, *GRID), np.bool_)).tolist() == [0]


def test_no_segments_have_no_scores() -> None:
    assert objectness(unit_features(GRID), np.zeros((0, *GRID), np.bool_)).shape == (0,)


@pytest.mark.parametrize("channels", [1, 5, 192, 1024])
def test_a_segment_that_looks_like_its_surroundings_scores_exactly_0(channels: int) -> None:
    features = np.repeat(unit_features((1, 1), channels), GRID[0] * GRID[1], axis=0)
    assert not objectness(features, random_masks(GRID)).any()


@pytest.mark.parametrize("move", [np.flipud, np.fliplr, np.transpose])
def test_mirrors_and_transposition_change_no_score(move: Callable[[NDArray[Any]], Any]) -> None:
    features, masks = unit_features(GRID), random_masks(GRID)
    order = move(np.arange(len(features)).reshape(GRID)).ravel()
    moved = objectness(features[order], np.array([move(mask) for mask in masks]))
    np.testing.assert_allclose(moved, objectness(features, masks), atol=1e-6)


def test_a_thing_cut_by_the_border_scores_less_than_a_whole_one() -> None:
    scene = things(GRID, np.s_[2:5, 0:3], np.s_[2:5, 6:9])
    features = np.eye(2, dtype=np.float32)[(scene > 0).astype(int).ravel()]
    cut, whole = objectness(features, scene == np.array([1, 2])[:, None, None])
    assert 0 < cut < whole


def test_more_contrast_and_more_area_score_more() -> None:
    scene = things((12, 20), np.s_[2:6, 2:6], np.s_[2:6, 12:16], np.s_[2:9, 12:19])
    looks = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, 1]], np.float32)
    small = objectness(looks[np.minimum(scene, 1).ravel()], (scene == 1)[None])
    vivid = objectness(looks[2 * np.minimum(scene, 1).ravel()], (scene == 1)[None])
    large = objectness(looks[np.minimum(scene, 1).ravel()], (scene == 3)[None])
    assert small < vivid and small < large
