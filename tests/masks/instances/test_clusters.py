"""Clusters of an embedded foreground, and their number."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from specray.masks import (
    CountRule,
    EmbeddingConfig,
    cluster_count,
    cluster_instances,
    instance_embedding,
)
from specray.masks.instances.clusters import MOST
from tests.masks.instances.scenes import APART, TOUCHING, features_of, overlap, things

RULES: tuple[CountRule, ...] = get_args(CountRule)
Scene = NDArray[np.int64]


def blobs(scene: Scene, spread: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """An embedding of things on a circle, and of a background that is in the midst of them."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * scene / scene.max()
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * (scene > 0)[..., None]
    return (circle + spread * rng.normal(size=circle.shape)).astype(np.float32)


@given(st.integers(0, 2**63 - 1), st.sampled_from([APART, TOUCHING]))
@settings(max_examples=20, deadline=None)
def test_two_things_of_constant_embeddings_are_split_exactly_for_any_seed(
    seed: int, scene: Scene
) -> None:
    labels = cluster_instances(blobs(scene), scene > 0, 2, seed)
    assert overlap(scene, labels) == [1, 1]
    assert labels.max() == 2


@pytest.mark.parametrize("spread", [0.0, 5.0])
def test_one_cluster_is_the_foreground_itself(spread: float) -> None:
    labels = cluster_instances(blobs(APART, spread), APART > 0, 1, seed=0)
    np.testing.assert_array_equal(labels, APART > 0)


def test_the_background_is_in_no_cluster_and_every_patch_of_the_foreground_in_one() -> None:
    labels = cluster_instances(blobs(TOUCHING, 1.0), TOUCHING > 0, 5, seed=0)
    np.testing.assert_array_equal(labels > 0, TOUCHING > 0)
    assert set(np.unique(labels)) == set(range(6))


@pytest.mark.parametrize("patches", [1, 2, 3, 7])
def test_there_is_at_most_one_cluster_per_patch(patches: int) -> None:
    mask = np.arange(20).reshape(4, 5) < patches
    embedding = np.arange(20, dtype=np.float32).reshape(4, 5, 1)
    assert cluster_instances(embedding, mask, 7, seed=0).max() == patches


@pytest.mark.parametrize("dimensions", [0, 4])
def test_no_foreground_has_no_clusters(dimensions: int) -> None:
    nothing = np.zeros((3, 4, dimensions), np.float32), np.zeros((3, 4), np.bool_)
    assert not cluster_instances(*nothing, 3, seed=0).any()
    for rule in RULES:
        assert cluster_count(np.zeros(1, np.float32), *nothing, rule, seed=0) == 1


def test_a_single_patch_without_embedding_is_a_cluster() -> None:
    single = np.zeros((1, 1, 0), np.float32), np.ones((1, 1), np.bool_)
    assert cluster_instances(*single, 2, seed=0).tolist() == [[1]]
    for rule in RULES:
        assert cluster_count(np.zeros(1, np.float32), *single, rule, seed=0) == 1


@pytest.mark.parametrize("spread", [0.0, 0.05])
@pytest.mark.parametrize("things_there", [2, 3, 4, 6])
def test_silhouette_finds_the_number_of_separated_things(things_there: int, spread: float) -> None:
    rows = [np.s_[4 * i : 4 * i + 3, 1:9] for i in range(things_there)]
    scene = things((4 * things_there, 10), *rows)
    embedding = blobs(scene, spread)
    assert cluster_count(np.zeros(5, np.float32), embedding, scene > 0, "silhouette", 0) == (
        things_there
    )


@pytest.mark.parametrize("things_there", [2, 3, 4, 6])
def test_eigengap_finds_the_number_of_separated_things(things_there: int) -> None:
    rows = [np.s_[4 * i : 4 * i + 3, 1:9] for i in range(things_there)]
    scene = things((4 * things_there, 10), *rows)
    features = np.eye(things_there + 1, dtype=np.float32)[scene.ravel()] + np.float32(0.01)
    plain = EmbeddingConfig(
        noise=None, deviation_share=None, metric="cosine", background="dropped", eigenvectors=9
    )
    pairs = instance_embedding(torch.from_numpy(features), scene > 0, plain)
    assert cluster_count(*pairs, scene > 0, "eigengap", seed=0) == things_there


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([0, 0.1, 0.2, 0.9, 1.0], 3),
        ([0, 0.9, 0.91, 0.92, 1.0], 4),  # the first gap would mean a single thing
        ([0, 0.9], 2),
        ([0], 2),
        ([], 2),
    ],
)
def test_eigengap_counts_the_eigenvalues_before_the_largest_gap_but_the_first(
    values: list[float], count: int
) -> None:
    found = np.array(values, np.float32)
    assert cluster_count(found, blobs(APART), APART > 0, "eigengap", 0) == count


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("patches", [1, 2, 5, 100])
def test_there_are_never_more_things_than_patches_nor_too_many(
    rule: CountRule, patches: int
) -> None:
    mask = np.arange(120).reshape(10, 12) < patches
    embedding = np.random.default_rng(0).normal(size=(10, 12, 4)).astype(np.float32)
    values = np.linspace(0, 1, 9).astype(np.float32) ** 2
    count = cluster_count(values, embedding, mask, rule, seed=0)
    assert 1 <= count <= min(patches, MOST)


def test_things_that_are_all_alike_are_one() -> None:
    embedding = np.ones((4, 5, 3), np.float32)
    mask = np.ones((4, 5), np.bool_)
    assert cluster_count(np.zeros(5, np.float32), embedding, mask, "silhouette", seed=0) == 1


@pytest.mark.parametrize("scene", [APART, TOUCHING], ids=["apart", "touching"])
def test_things_of_two_looks_are_split(scene: Scene) -> None:
    config = EmbeddingConfig(median="masked")  # the published one blurs things as small as these
    for seed in range(5):
        _, embedding = instance_embedding(features_of(scene, seed=seed), scene > 0, config)
        labels = cluster_instances(embedding, scene > 0, 2, seed)
        assert overlap(scene, labels) == [1, 1]
