"""The permutohedral lattice in torch, for all images of a batch (Adams, Baek and Davis, 2010).

A pixel with its feature vector f of D dimensions (position, colour) lies in a simplex of D + 1
lattice points. Filtering with a Gaussian is: splat values to the points, blur along the D + 1 axes
of the lattice, slice at the pixels. All three are sums over rows of a table, each in a fixed order
(`torch.nn.functional.embedding_bag`): results are the same in every run, on CUDA too.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


class Lattice(NamedTuple):
    """Where the pixels of B images lie among the points of a lattice; N pixels each, M points.

    Row ``n * B + b`` is pixel n of image b. No two images share a point. Point 0 stands for all
    that are not there: its values are 0.
    """

    vertices: Tensor
    """(N * B, D + 1) points of the simplex of every row."""
    weights: Tensor
    """(N * B, D + 1) barycentric coordinates, times the square root of the normalisation."""
    rows: Tensor
    """(N * B * (D + 1),) rows that have a point as a vertex, point after point."""
    row_weights: Tensor
    """Their weights."""
    starts: Tensor
    """(M + 1,) place in `rows` where those of every point begin."""
    neighbours: Tensor
    """(D + 1, M + 1, 2) points before and after every point on every axis."""


def build(features: Tensor, deviations: tuple[float, ...]) -> Lattice:
    """The normalised lattice of a batch of images.

    Parameters
    ----------
    features
        (D, N, B) float32 features of every pixel, none negative.
    deviations
        (D,) standard deviations of the Gaussian.

    Raises
    ------
    ValueError
        The features are too large for the deviations.
    """
    keys, bary, steps = _simplices(features, deviations)
    width = len(deviations) + 1
    ordered, entries = keys.flatten().sort(stable=True)
    del keys
    points, inverse, counts = ordered.unique_consecutive(return_inverse=True, return_counts=True)
    del ordered
    # 32 bits halve the memory; no batch that fits a machine of today needs more
    index = torch.int32 if len(entries) < 2**31 else torch.int64
    vertices = torch.empty_like(entries, dtype=index)
    vertices[entries] = (inverse + 1).to(index)
    del inverse
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0) - counts]).to(index)
    raw = Lattice(
        vertices.view(-1, width),
        bary,
        (entries // width).to(index),
        bary.flatten()[entries],
        starts,
        _neighbours(points, steps, index),
    )
    scale = _normalisation(raw)
    return raw._replace(
        weights=raw.weights.mul_(scale), row_weights=raw.row_weights.mul_(scale[raw.rows, 0])
    )


def convolve(lattice: Lattice, values: Tensor) -> Tensor:
    """Normalised Gaussian filter of the rows' (N * B, C) values; C is at least 1."""
    return _slice(lattice, _blur(lattice, _splat(lattice, values)))


def _splat(lattice: Lattice, values: Tensor) -> Tensor:
    """(N * B, C) values of the rows to (M + 1, C) values of the points."""
    return embedding_bag(
        lattice.rows,
        values,
        lattice.starts,
        mode="sum",
        per_sample_weights=lattice.row_weights,
    )


def _blur(lattice: Lattice, table: Tensor) -> Tensor:
    for axis in lattice.neighbours:
        table.add_(embedding_bag(axis, table, mode="sum"), alpha=0.5)
    return table


def _slice(lattice: Lattice, table: Tensor) -> Tensor:
    """(M + 1, C) values of the points to (N * B, C) values of the rows."""
    return embedding_bag(lattice.vertices, table, mode="sum", per_sample_weights=lattice.weights)


def _normalisation(lattice: Lattice) -> Tensor:
    """(N * B, 1) factors: with them in the weights a convolution is N K N."""
    ones = lattice.weights.new_ones(len(lattice.weights), 1)
    alpha = 1 / (1 + 2.0 ** -(lattice.weights.shape[1] - 1))
    return (alpha / (convolve(lattice, ones).mul_(alpha) + 1e-20)).sqrt_()


def _simplices(features: Tensor, deviations: tuple[float, ...]) -> tuple[Tensor, Tensor, list[int]]:
    """Packed keys and barycentric coordinates, both (N * B, D + 1), of the vertices of every row.

    The third is what a step along each of the D + 1 axes adds to a key.
    """
    count = len(deviations) + 1
    scaled = _scale(features.flatten(1), deviations)
    units, base = _packing(scaled.amax(1).tolist(), features.shape[2], deviations)
    elevated = _elevate(scaled)
    del scaled
    nearest, rank = _nearest(elevated)
    residual = torch.empty_like(elevated)  # from the largest to the smallest
    residual.scatter_(0, rank, (elevated - nearest) * (1 / count))
    bary = torch.empty_like(elevated)
    bary[0] = residual[-1] + (1 - residual[0])
    bary[1:] = (residual[:-1] - residual[1:]).flip(0)

    image = torch.arange(features.shape[2], device=features.device)
    keys = torch.empty_like(rank)
    unit = torch.tensor([*units[:-1], 0], device=features.device)  # the last coordinate follows
    keys[0] = (image * units[-1] + base).repeat(features.shape[1])
    for axis in range(count - 1):
        keys[0] += nearest[axis].long() * units[axis]
    # One vertex to the next: 1 more in all coordinates, but D less in the one whose turn it is.
    turn = torch.empty_like(rank).scatter_(0, rank, unit[:, None].expand_as(rank))
    ones = sum(units[:-1])
    for k in range(1, count):
        torch.add(keys[k - 1], turn[count - k], alpha=-count, out=keys[k])
        keys[k] += ones
    steps = [count * step - ones for step in (*units[:-1], 0)]
    return keys.T.contiguous(), bary.T.contiguous(), steps


def _scale(features: Tensor, deviations: tuple[float, ...]) -> Tensor:
    """(D, P) features in coordinates in which the Gaussian is the lattice's own.

    Float32 rounds at the same three places as in pydensecrf. Elsewhere a pixel at the border of
    two simplices may fall into the other, whose points then exist or not: with few points around
    that changes its marginals by up to 0.1.
    """
    unit = float(np.float32(math.sqrt(2 / 3) * (len(deviations) + 1)))
    scale = [unit / math.sqrt((i + 2) * (i + 1)) for i in range(len(deviations))]
    return features / features.new_tensor(deviations)[:, None] * features.new_tensor(scale)[:, None]


def _elevate(scaled: Tensor) -> Tensor:
    """(D, P) scaled features onto the plane in D + 1 dimensions where coordinates sum to 0."""
    elevated = scaled.new_empty(len(scaled) + 1, scaled.shape[1])
    total = torch.zeros_like(scaled[0])
    for axis in range(len(scaled), 0, -1):
        # in two steps: a fused one would round but once
        torch.sub(total, axis * scaled[axis - 1], out=elevated[axis])
        total += scaled[axis - 1]
    elevated[0] = total
    return elevated


def _nearest(elevated: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest point of remainder 0 (float32), and the ranks of the residuals (int64)."""
    count = len(elevated)
    rounded = (elevated * (1 / count) + 0.5).floor_()
    residual = elevated - rounded * count
    rank = torch.arange(count, dtype=torch.int8, device=elevated.device)[:, None]
    rank = rank + rounded.sum(0).to(torch.int8)
    for i in range(count):
        for j in range(i + 1, count):
            behind = (residual[i] < residual[j]).view(torch.int8)
            rank[i] += behind
            rank[j] -= behind
    # Rounding may leave the plane; the axes of the largest errors bring the point back.
    turns = (rank < 0).to(torch.int8) - (rank >= count).to(torch.int8)
    rounded += turns
    rank += count * turns
    return rounded.mul_(count), rank.long()


def _packing(
    largest: list[float], images: int, deviations: tuple[float, ...]
) -> tuple[list[int], int]:
    """What a step in each of the first D coordinates and one image add to a key; the key of 0."""
    margin = 3 * (len(largest) + 1)  # of the vertices around a pixel, and of their neighbours
    units, base = [1], 0
    for axis in range(len(largest)):
        low = math.ceil(axis * largest[axis - 1] if axis else 0) + margin
        high = math.ceil(sum(largest[axis:])) + margin
        base += low * units[axis]
        units.append(units[axis] * (low + high + 1))
    if units[-1] * images >= 2**63:
        raise ValueError(
            f"a batch of {images} is too large, or its images are, for deviations of "
            f"{', '.join(f'{d:g}' for d in deviations)}; refine fewer at once, at a smaller size "
            "or with larger deviations"
        )
    return units, base


def _neighbours(points: Tensor, steps: list[int], index: torch.dtype) -> Tensor:
    """See `Lattice`; `points` (M,) are the sorted keys."""
    neighbours = torch.zeros(len(steps), len(points) + 1, 2, dtype=index, device=points.device)
    number = torch.arange(1, len(points) + 1, dtype=index, device=points.device)
    for axis, step in enumerate(steps):
        wanted = points + step
        found = torch.searchsorted(points, wanted).clamp_(max=len(points) - 1)
        before = torch.where(points[found] == wanted, found + 1, 0)
        neighbours[axis, 1:, 0] = before
        neighbours[axis, :, 1].scatter_(0, before, number)
        neighbours[axis, 0, 1] = 0  # where all that have none before them wrote
    return neighbours
