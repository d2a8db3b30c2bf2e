"""Batched k-means, against scikit-learn and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from torch import Tensor

from specray.masks import kmeans
from specray.masks.kmeans import _lloyd


def inertia(points: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    clusters = [points[labels == label] for label in np.unique(labels)]
    return float(sum(((cluster - cluster.mean(axis=0)) ** 2).sum() for cluster in clusters))


def blobs(images: int, spread: float, count: int = 600) -> Tensor:
    made = [
        make_blobs(count, 4, centers=12, cluster_std=spread, random_state=seed)[0]
        for seed in range(images)
    ]
    return torch.from_numpy(np.stack(made)).float()


@pytest.mark.parametrize("spread", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("clusters", [2, 12, 15])
def test_inertia_is_within_one_percent_of_sklearn(spread: float, clusters: int) -> None:
    points = blobs(8, spread)
    labels = kmeans(points, clusters, seeds=range(8))
    ours, theirs = 0.0, 0.0
    for image, found in zip(points.double().numpy(), labels.numpy(), strict=True):
        ours += inertia(image, found)
        theirs += KMeans(clusters, n_init=10, random_state=0).fit(image).inertia_
    assert ours <= 1.01 * theirs


def test_small_problem_reaches_the_optimum() -> None:
    points = torch.from_numpy(np.random.default_rng(0).random((1, 9, 2)))
    best = min(
        inertia(points[0].numpy(), np.array(labels))
        for labels in itertools.product(range(3), repeat=9)
    )
    found = kmeans(points, 3, seeds=[0])[0].numpy()
    assert inertia(points[0].numpy(), found) == pytest.approx(best)


def test_every_point_is_with_its_nearest_centroid() -> None:
    points = blobs(1, spread=2.0)
    labels = kmeans(points, 5, seeds=[3])[0]
    means = torch.stack([points[0, labels == label].mean(dim=0) for label in range(5)])
    distances = torch.cdist(points[0], means)
    chosen = distances.gather(1, labels[:, None])[:, 0]
    # centroids are rounded to a grid of 1.5e-5 of the largest coordinate
    assert (chosen <= distances.amin(dim=1) + 1e-4 * points.abs().max()).all()


def test_labels_are_the_same_alone_and_in_a_batch() -> None:
    points, seeds = blobs(5, spread=4.0), [4, 9, 2, 9, 0]
    together = kmeans(points, 15, seeds)
    for image, seed in enumerate(seeds):
        alone = kmeans(points[image : image + 1], 15, [seed])
        assert torch.equal(alone[0], together[image])
    backwards = kmeans(points.flip(0), 15, seeds[::-1])
    assert torch.equal(backwards.flip(0), together)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_labels_are_the_same_on_the_gpu() -> None:
    points, seeds = blobs(8, spread=4.0, count=1590), range(8)
    assert torch.equal(kmeans(points.cuda(), 15, seeds).cpu(), kmeans(points, 15, seeds))


def test_seed_decides() -> None:
    points = blobs(1, spread=8.0)
    first, again, other = (kmeans(points, 15, [seed]) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_scale_of_the_points_does_not_matter(scale: float) -> None:
    points = blobs(2, spread=2.0).double()
    assert torch.equal(kmeans(points * scale, 6, [0, 1]), kmeans(points, 6, [0, 1]))


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_fewer_distinct_points_than_clusters_share_labels(distinct: int) -> None:
    points = torch.arange(30).remainder(distinct).double()[None, :, None]
    labels = kmeans(points, 5, seeds=[0])
    assert labels.max() + 1 == len(np.unique(labels)) == distinct
    assert inertia(points[0].numpy(), labels[0].numpy()) == 0


def test_cluster_without_points_stays_where_it_is() -> None:
    points = torch.tensor([[[-10.0], [-9], [1], [9], [10]]]).double()
    labels, _ = _lloyd(points, torch.tensor([[[-10.0], [10], [1000]]]).double())
    assert labels.tolist() == [[0, 0, 1, 1, 1]]


def test_as_many_clusters_as_points() -> None:
    points = torch.arange(7).double()[None, :, None] ** 2
    assert sorted(kmeans(points, 7, seeds=[0])[0].tolist()) == list(range(7))


def test_problem_too_large_to_be_exact_is_refused() -> None:
    with pytest.raises(ValueError, match="70000 points in 8 dimensions"):
        kmeans(torch.zeros(1, 70000, 8), 4, seeds=[0])
