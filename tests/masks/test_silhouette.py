"""The simplified silhouette, against its definition."""

from __future__ import annotations

import numpy as np
import torch

from specray.masks import simplified_silhouette


def test_silhouette_follows_its_definition() -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.random((2, 40, 3)), rng.integers(0, 4, (2, 40))
    found = simplified_silhouette(torch.from_numpy(points), torch.from_numpy(labels)).numpy()
    for image in range(2):
        means = np.stack([points[image][labels[image] == c].mean(axis=0) for c in range(4)])
        distances = np.linalg.norm(points[image][:, None] - means, axis=2)
        own = distances[np.arange(40), labels[image]]
        distances[np.arange(40), labels[image]] = np.inf
        expected = np.maximum(1 - own / distances.min(axis=1), 0)
        np.testing.assert_allclose(found[image], expected, atol=1e-3)


def test_silhouette_of_a_single_cluster_or_of_equal_points_is_zero() -> None:
    points = torch.rand(1, 8, 2, generator=torch.Generator().manual_seed(0))
    zeros = torch.zeros(1, 8, dtype=torch.int64)
    assert not simplified_silhouette(points, zeros).any()
    halves = (torch.arange(8) % 2)[None]
    assert not simplified_silhouette(torch.ones(1, 8, 2), halves).any()


def test_clusters_another_image_lacks_do_not_count() -> None:
    points = torch.rand(2, 12, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.stack([torch.arange(12) % 2, torch.arange(12) % 4])
    both = simplified_silhouette(points, labels)
    assert torch.equal(both[:1], simplified_silhouette(points[:1], labels[:1]))
