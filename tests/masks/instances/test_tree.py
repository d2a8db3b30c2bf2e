"""The tree of segments, against scikit-learn's flat clusterings."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage, sparse
from sklearn.cluster import AgglomerativeClustering

from specray.masks import segment_tree
from specray.masks.instances.tree import EVEN, MERGES, SIDES, SMALLEST
from tests.masks.instances.scenes import TOUCHING, features_of, things

Points = NDArray[np.float32]


@st.composite
def grids_of_points(draw: st.DrawFn) -> tuple[Points, tuple[int, int]]:
    """Few distinct features, so that many merges are equally good."""
    grid = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    shape = grid[0] * grid[1], draw(st.integers(1, 3))
    return draw(arrays(np.float32, shape, elements=st.sampled_from([0, 1, 2]))), grid


def sides_touched(mask: NDArray[np.bool_]) -> int:
    return sum(bool(end.any()) for end in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


@given(grids_of_points())
@settings(deadline=None)  # the first example may wait for the compiler
def test_any_two_segments_are_nested_or_disjoint(case: tuple[Points, tuple[int, int]]) -> None:
    for a, b in combinations(segment_tree(*case), 2):
        shared = np.count_nonzero(a & b)
        assert shared in (0, np.count_nonzero(a), np.count_nonzero(b))


@given(grids_of_points())
@settings(deadline=None)  # the first example may wait for the compiler
def test_segments_are_4_connected_not_tiny_and_touch_few_sides(
    case: tuple[Points, tuple[int, int]],
) -> None:
    for segment in segment_tree(*case):
        assert ndimage.label(segment)[1] == 1
        assert np.count_nonzero(segment) >= SMALLEST
        assert sides_touched(segment) <= SIDES


def cut(points: Points, grid: tuple[int, int], clusters: int) -> set[bytes]:
    """The masks of a flat clustering of the grid."""
    rows, columns = (
        sparse.diags_array([np.ones(side - 1)] * 2, offsets=[-1, 1], shape=(side, side))
        for side in grid
    )
    neighbours = sparse.kronsum(columns, rows)
    found = AgglomerativeClustering(clusters, connectivity=neighbours, compute_full_tree=True)
    labels = found.fit(points).labels_.reshape(grid)
    return {(labels == label).tobytes() for label in range(clusters)}


@pytest.mark.parametrize(
    "grid", [(7, 9), (5, 5), (10, 15), (14, 20)]
)  # the last has more merges than count
def test_segments_are_what_each_merge_adds_to_the_flat_clusterings_and_the_larger_of_the_finest(
    grid: tuple[int, int],
) -> None:
    count = grid[0] * grid[1]
    points = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    cuts = [cut(points, grid, clusters) for clusters in range(1, min(MERGES + 1, count) + 1)]
    added = [next(iter(coarse - fine)) for coarse, fine in pairwise(cuts)]
    late = [mask for mask in added if may_be_an_object(mask, grid, SMALLEST)]
    least = max(SMALLEST, EVEN * count)
    early = {mask for mask in cuts[-1] if may_be_an_object(mask, grid, least)}
    found = [segment.tobytes() for segment in segment_tree(points, grid)]
    assert found[: len(late)] == late
    assert set(found[len(late) :]) == early - set(late)
    assert len(found) == len(set(found))


def may_be_an_object(mask: bytes, grid: tuple[int, int], least: float) -> bool:
    shape = np.frombuffer(mask, np.bool_).reshape(grid)
    return bool(shape.sum() >= least) and sides_touched(shape) <= SIDES


def test_an_even_object_on_a_busy_ground_is_a_segment() -> None:
    scene = things((20, 30), np.s_[5:12, 8:20])
    points = np.random.default_rng(0).normal(size=(600, 6)).astype(np.float32)
    points[scene.ravel() == 1] = 3  # complete long before the last merges
    assert (segment_tree(points, scene.shape) == (scene == 1)).all(axis=(1, 2)).any()


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 1), (1, 3), (2, 2), (2, 3)])
def test_grids_too_small_for_a_segment_have_none(grid: tuple[int, int]) -> None:
    points = np.arange(grid[0] * grid[1], dtype=np.float32)[:, None]
    assert segment_tree(points, grid).shape == (0, *grid)


@pytest.mark.parametrize("grid", [(1, 6), (6, 1)])
def test_a_row_of_patches_has_segments(grid: tuple[int, int]) -> None:
    points = np.array([0, 5, 5, 5, 5, 9], np.float32)[:, None]
    whole = np.array([0, 1, 1, 1, 1, 0], np.bool_).reshape(grid)
    assert (segment_tree(points, grid) == whole).all(axis=(1, 2)).any()


@pytest.mark.parametrize("thing", [1, 2])
def test_touching_things_are_segments_of_their_own(thing: int) -> None:
    segments = segment_tree(features_of(TOUCHING).numpy(), TOUCHING.shape)
    assert (segments == (thing == TOUCHING)).all(axis=(1, 2)).any()


@pytest.mark.parametrize(
    ("extent", "found"),
    [(np.s_[:8, :-1], True), (np.s_[:8, :], False), (np.s_[:, 2:5], True), (np.s_[:, :5], False)],
)
def test_what_touches_three_sides_is_the_scene(extent: tuple[slice, slice], found: bool) -> None:
    scene = things((12, 9), extent)
    segments = segment_tree(scene.reshape(-1, 1).astype(np.float32), scene.shape)
    assert (segments == (scene == 1)).all(axis=(1, 2)).any() == found
