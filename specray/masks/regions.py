"""Regions: clusters of the patches in the space of the eigenvectors (DSM, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.background import background_first
from specray.masks.config import RegionConfig
from specray.masks.eigengap import eigengap_clusters
from specray.masks.geometry import ImageGeometry, to_image
from specray.masks.kmeans import kmeans
from specray.masks.refine import Refiner
from specray.masks.segments import (
    Segment,
    morphology_boxes,
    segments_from_labels,
    segments_from_pixels,
)
from specray.masks.silhouette import simplified_silhouette


def region_segments(
    vectors: Tensor,
    values: Tensor,
    grid: tuple[int, int],
    geometries: Sequence[ImageGeometry],
    config: RegionConfig,
    seeds: Sequence[int],
    refiners: Sequence[Refiner | None] | None = None,
) -> list[list[Segment]]:
    """Regions of every image of a batch; region 0 is the background.

    The masks are disjoint and cover the image. The score of a region is the mean simplified
    silhouette of its patches: 1 if all of them sit on the region's centroid, 0 if they sit on the
    edge to another region. With ``erode`` or ``dilate`` the boxes are those of DSM's
    morphology, not the tight ones. With refiners the regions end at borders of the image; one
    that others absorb is left out.

    Parameters
    ----------
    vectors
        (B, K, N) eigenvectors after the sign rule; the first, which is constant, is not used.
    values
        (B, K) eigenvalues, ascending.
    grid
        (h, w) with ``h * w == N``.
    geometries
        (B,) sizes of the images.
    config
        Number of regions and morphology.
    seeds
        (B,) one seed per image, not negative.
    refiners
        (B,) of the images; None where masks stay whole cells.

    Returns
    -------
    (B,) lists of segments of method ``region``.
    """
    labels = region_labels(vectors, values, grid, config, seeds)
    points, flat = _points(vectors), torch.from_numpy(labels).flatten(1).to(vectors.device)
    silhouettes = simplified_silhouette(points, flat).cpu().numpy()
    return [
        _segments(label_map, _means(silhouette, label_map), geometry, config, refiner)
        for label_map, silhouette, geometry, refiner in zip(
            labels, silhouettes, geometries, refiners or repeat(None, len(labels)), strict=True
        )
    ]


def _segments(
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    geometry: ImageGeometry,
    config: RegionConfig,
    refiner: Refiner | None,
) -> list[Segment]:
    erode, dilate = config.erode, config.dilate
    if refiner is None:
        return segments_from_labels(labels, geometry, "region", scores, erode, dilate)
    refined = refiner(to_image(labels, geometry.at_size(*refiner.size)))
    boxes = morphology_boxes(labels, geometry, erode, dilate)
    return segments_from_pixels(refined, geometry, "region", scores, boxes)


def region_labels(
    vectors: Tensor,
    values: Tensor,
    grid: tuple[int, int],
    config: RegionConfig,
    seeds: Sequence[int],
) -> NDArray[np.int64]:
    """Cluster the patches of every image by k-means on its eigenvectors 1..K-1.

    Parameters
    ----------
    vectors, values, grid, config, seeds
        As for `region_segments`.

    Returns
    -------
    (B, h, w) int64 labels from 0, the background, up; all 0 if there is no second eigenvector.
    """
    batch, _, patches = vectors.shape
    points = _points(vectors)
    labels = np.zeros((batch, patches), dtype=np.int64)
    counts = _cluster_counts(values, config)
    for clusters in sorted(set(counts)):
        images = [image for image, count in enumerate(counts) if count == clusters]
        found = kmeans(points[images], clusters, [seeds[image] for image in images])
        labels[images] = found.cpu().numpy()
    return np.stack([background_first(flat.reshape(grid)) for flat in labels])


def _points(vectors: Tensor) -> Tensor:
    """(B, N, K - 1) patches in the space of the eigenvectors, the constant one left out.

    Without a second eigenvector nothing tells the patches apart: they are all put at 0.
    """
    return vectors[:, 1:].mT if vectors.shape[1] > 1 else torch.zeros_like(vectors).mT


def _cluster_counts(values: Tensor, config: RegionConfig) -> list[int]:
    """(B,) number of clusters of every image."""
    if config.adaptive_regions:
        return [int(clusters) for clusters in eigengap_clusters(values).cpu()]
    return [config.regions] * len(values)


def _means(silhouette: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over every region; 0 for a label that does not occur."""
    total = np.bincount(labels.ravel(), weights=silhouette)
    return total / np.maximum(np.bincount(labels.ravel()), 1)
