"""Instances of an image: what is separate, how many there are, and in which order."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from torch import Tensor

from specray.masks import (
    CountRule,
    EmbeddingConfig,
    InstanceConfig,
    Instances,
    instance_foreground,
    objectness,
    separate,
    spectral_instances,
    tree_instances,
)
from specray.masks.config import Separation
from specray.masks.instances.separate import PROMINENT
from tests.masks.instances.scenes import APART, TOUCHING, features_of, overlap, same, things

Scene = NDArray[np.int64]
SEPARATIONS: tuple[Separation, ...] = get_args(Separation)
RULES: tuple[CountRule, ...] = get_args(CountRule)
SCENES = {
    "apart": APART,
    "touching": TOUCHING,
    "one": things((8, 12), np.s_[2:6, 3:9]),
    "four": things((8, 12), *(np.s_[y : y + 2, x : x + 4] for y in (1, 5) for x in (1, 7))),
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
def test_things_that_differ_touching_or_not_are_instances_of_their_own_and_nothing_else_is(
    scene: Scene, noise: float
) -> None:
    for seed in range(5):
        found = tree_instances(features_of(scene, noise, seed), scene.shape)
        assert overlap(scene, found.labels) == [1] * scene.max()
        assert len(found.scores) == scene.max()


def test_alike_things_apart_from_each_other_are_separate() -> None:
    looks = features_of(np.minimum(APART, 1))
    assert overlap(APART, tree_instances(looks, APART.shape).labels) == [1, 1]


@pytest.mark.parametrize("scene", [APART, TOUCHING], ids=["apart", "touching"])
def test_clusters_of_a_given_foreground_are_its_things(scene: Scene) -> None:
    embedding = EmbeddingConfig(median="masked")
    features, mask = features_of(scene), scene > 0
    found = spectral_instances(features, scene.shape, 2, 0, embedding, mask)
    assert overlap(scene, found.labels) == [1, 1]


@pytest.mark.parametrize("grid", [(12, 16), (1, 1), (1, 9), (40, 40)])
@pytest.mark.parametrize("row", [torch.ones(192), torch.zeros(192), torch.arange(192.0).sin()])
def test_equal_features_everywhere_are_no_instance(grid: tuple[int, int], row: Tensor) -> None:
    for count in (None, 3):
        found = tree_instances(row.expand(grid[0] * grid[1], -1), grid, count)
        assert not found.labels.any() and not len(found.scores)


@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_there_are_at_most_as_many_instances_as_asked_for(
    real_keys: Tensor, separation: Separation, count: int
) -> None:
    found = separate(real_keys, (31, 28), InstanceConfig(separation, count), seed=0)
    assert len(found.scores) == found.labels.max() <= count
    assert count > 3 or len(found.scores) == count


def test_fewer_instances_are_the_first_of_more(real_keys: Tensor) -> None:
    many = tree_instances(real_keys, (31, 28), 9)
    few = tree_instances(real_keys, (31, 28), 4)
    assert same(few, Instances(np.where(many.labels <= 4, many.labels, 0), many.scores[:4]))


def test_those_instances_are_taken_that_reach_a_share_of_the_best_score(real_keys: Tensor) -> None:
    prominent = tree_instances(real_keys, (31, 28))
    everything = tree_instances(real_keys, (31, 28), 1000).scores
    assert 1 < len(prominent.scores) < len(everything)
    np.testing.assert_array_equal(
        prominent.scores, everything[everything > PROMINENT * everything[0]]
    )


def every_way(features: Tensor, grid: tuple[int, int]) -> list[Instances]:
    configs = (InstanceConfig(s, count) for s in SEPARATIONS for count in (None, 1, 4))
    found = [separate(features, grid, config, seed=3) for config in configs]
    return found + [spectral_instances(features, grid, rule, 3) for rule in RULES]


def check(found: Instances, features: Tensor, grid: tuple[int, int]) -> None:
    """What always holds of instances."""
    assert found.labels.shape == grid
    count = len(found.scores)
    assert set(np.unique(found.labels)) - {0} == set(range(1, count + 1))
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    masks = found.labels == np.arange(1, count + 1)[:, None, None]
    unit = F.normalize(features.float(), dim=-1).numpy()
    np.testing.assert_allclose(found.scores, objectness(unit, masks), atol=1e-6)


def test_scores_fall_and_are_the_objectness_of_the_labels(real_keys: Tensor) -> None:
    for found in every_way(real_keys, (31, 28)):
        check(found, real_keys, (31, 28))
        assert len(found.scores) > 0


@st.composite
def small_images(draw: st.DrawFn) -> tuple[Tensor, tuple[int, int]]:
    """Features of few values on grids down to a single patch, in the precision of the pipeline."""
    grid = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    shape = grid[0] * grid[1], draw(st.integers(1, 7))
    values = draw(arrays(np.float16, shape, elements=st.sampled_from([-1, 0, 0.25, 1])))
    return torch.from_numpy(values), grid


@given(small_images())
@settings(max_examples=60, deadline=None)
def test_any_image_has_instances_or_none(image: tuple[Tensor, tuple[int, int]]) -> None:
    for found in every_way(*image):
        check(found, *image)


def test_no_foreground_is_no_instance() -> None:
    nothing = np.zeros(APART.shape, np.bool_)
    for count in (1, 3, *RULES):
        found = spectral_instances(features_of(APART), APART.shape, count, 0, foreground=nothing)
        assert not found.labels.any() and not len(found.scores)


def test_spectral_instances_divide_the_published_foreground(real_keys: Tensor) -> None:
    mask = instance_foreground(real_keys, (31, 28))
    for count in (1, 5, *RULES):
        found = spectral_instances(real_keys, (31, 28), count, seed=0)
        np.testing.assert_array_equal(found.labels > 0, mask)


def test_the_same_image_has_the_same_instances(real_keys: Tensor) -> None:
    for one, again in zip(
        every_way(real_keys, (31, 28)), every_way(real_keys.clone(), (31, 28)), strict=True
    ):
        assert same(one, again)


@pytest.mark.parametrize("separation", SEPARATIONS)
@pytest.mark.parametrize("factor", [2.0**-12, 2.0**12])
def test_scale_of_the_features_does_not_matter(
    real_keys: Tensor, separation: Separation, factor: float
) -> None:
    config = InstanceConfig(separation)
    plain, scaled = (separate(f * real_keys, (31, 28), config, 0) for f in (1, factor))
    assert same(plain, scaled)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_a_mirrored_image_has_mirrored_instances(scene: Scene) -> None:
    maps = features_of(scene).reshape(*scene.shape, -1)
    found = tree_instances(maps.flip(1).flatten(0, 1), scene.shape)
    assert overlap(scene[:, ::-1], found.labels) == [1] * scene.max()


@pytest.mark.parametrize(
    ("config", "embedding"),
    [
        (InstanceConfig("spectral", 2), EmbeddingConfig()),
        (
            InstanceConfig("spectral", 2, "all", "dot"),
            EmbeddingConfig(noise=None, deviation_share=None, metric="dot"),
        ),
        (InstanceConfig("spectral", 2, "ncr"), EmbeddingConfig(deviation_share=None)),
    ],
)
def test_the_parts_of_the_published_method_are_those_that_are_asked_for(
    config: InstanceConfig, embedding: EmbeddingConfig
) -> None:
    features = features_of(TOUCHING, 0.3, 1)
    found = separate(features, TOUCHING.shape, config, seed=3)
    expected = spectral_instances(features, TOUCHING.shape, 2, 3, embedding)
    assert (found.labels == expected.labels).all()
