"""Instances as clusters of the embedded foreground, and how many clusters there are."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from specray.masks.eigengap import eigengap_clusters
from specray.masks.kmeans import kmeans
from specray.masks.silhouette import simplified_silhouette

CountRule = Literal["eigengap", "silhouette"]
"""How the number of clusters is found: see `cluster_count`."""

MOST: Final = 10
"""Largest number of clusters that is tried."""


def cluster_instances(
    embedding: NDArray[np.float32], mask: NDArray[np.bool_], clusters: int, seed: int
) -> NDArray[np.int64]:
    """Cluster the foreground by k-means.

    Parameters
    ----------
    embedding
        (h, w, E) float32.
    mask
        (h, w) bool, the foreground.
    clusters
        At least 1; at most one per patch of the foreground are made.
    seed
        Not negative.

    Returns
    -------
    (h, w) int64: 0 background, 1.. the clusters, each of which may be in several parts.
    """
    labels = mask.astype(np.int64)
    points = torch.from_numpy(embedding[mask])
    if points.numel():  # a single patch without any background has no eigenvector but the constant
        found = kmeans(points[None], min(clusters, len(points)), [seed])[0]
        labels[mask] = found.numpy() + 1
    return labels


def cluster_count(
    values: NDArray[np.float32],
    embedding: NDArray[np.float32],
    mask: NDArray[np.bool_],
    rule: CountRule,
    seed: int,
) -> int:
    """Number of instances in the foreground.

    Parameters
    ----------
    values
        (K,) eigenvalues, ascending.
    embedding, mask, seed
        As of `cluster_instances`.
    rule
        `eigengap`: the eigenvalues before the largest gap, the first gap excluded; `silhouette`:
        the number, from 2 to `MOST`, whose clusters have the largest mean silhouette.

    Returns
    -------
    At least 1, at most the patches of the foreground.
    """
    patches = int(np.count_nonzero(mask))
    if rule == "eigengap":
        return min(int(eigengap_clusters(torch.from_numpy(values)[None])[0]), max(patches, 1))
    points = torch.from_numpy(embedding[mask])[None]
    best, count = 0.0, 1
    for clusters in range(2, min(MOST, patches) + 1):
        labels = kmeans(points, clusters, [seed])
        silhouette = float(simplified_silhouette(points, labels).mean())
        if silhouette > best:
            best, count = silhouette, clusters
    return count
