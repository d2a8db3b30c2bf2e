"""How clearly every patch belongs to its region."""

from __future__ import annotations

import torch
from torch import Tensor

from specray.masks.kmeans import centroids_of, fixed_point, squared_distances


def simplified_silhouette(points: Tensor, labels: Tensor) -> Tensor:
    """Silhouette with distances to centroids in place of mean distances to points.

    ``1 - a / b`` with a the distance of a point to the centroid of its own cluster and b the one
    to the nearest other centroid; 0 where b <= a.

    Parameters
    ----------
    points
        (B, N, D) points, finite.
    labels
        (B, N) int64.

    Returns
    -------
    (B, N) float64 in [0, 1]: 1 on the own centroid, 0 on the edge to another cluster. 0 where
    there is only one cluster.

    References
    ----------
    E. R. Hruschka, L. N. de Castro and R. J. G. B. Campello, Evolutionary algorithms for
    clustering gene-expression data, ICDM 2004.
    """
    points = fixed_point(points)
    centroids, sizes = centroids_of(points, labels, int(labels.max()) + 1)
    distances = squared_distances(points, centroids).sqrt()
    own = distances.gather(2, labels[..., None])[..., 0]
    distances = distances.masked_fill(sizes[:, None] == 0, torch.inf)
    other = distances.scatter(2, labels[..., None], torch.inf).amin(dim=2)
    separated = other.isfinite() & (other > own)
    return torch.where(separated, 1 - own / other.where(separated, 1), 0.0)
