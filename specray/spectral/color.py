"""Colour affinity: k nearest neighbours in colour and position (DSM section 3.1, "W_knn").

The neighbour counts of DSM's released code, not the smooth weights of the paper's equation: two
passes, one that is local (20 neighbours, position weight 2) and one that reaches across the image
(10 neighbours, position weight 0.1).
"""

from __future__ import annotations

import torch
from torch import Tensor

_PASSES = ((20, 2.0), (10, 0.1))  # (neighbours including the pixel itself, weight of position)


def color_knn_affinity(colors: Tensor) -> Tensor:
    """How often two cells are among each other's nearest neighbours.

    Parameters
    ----------
    colors : Tensor
        ``(B, 3, h, w)`` RGB in [0, 1], on the affinity grid.

    Returns
    -------
    Tensor
        ``(B, N, N)`` float32 with ``N = h * w``: integers 0 to 4, symmetric, 4 on the diagonal.
        Neighbour lists are cut to ``N`` entries on grids smaller than them.
    """
    batch, _, height, width = colors.shape
    cells = height * width
    rgb = colors.float().flatten(2).mT
    position = _positions(height, width, rgb.device).expand(batch, cells, 2)
    directed = torch.zeros(batch, cells, cells, device=rgb.device)
    for neighbours, weight in _PASSES:
        points = torch.cat([rgb, weight * position], dim=-1)
        # Exact differences: through a matrix product a cell might not be its own nearest one.
        distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.topk(min(neighbours, cells), largest=False).indices
        directed.scatter_add_(2, nearest, torch.ones_like(nearest, dtype=directed.dtype))
    return directed + directed.mT


def _positions(height: int, width: int, device: torch.device) -> Tensor:
    """``(h*w, 2)`` coordinates x, y, each from 0 to 1 over its side."""
    y, x = torch.meshgrid(
        torch.linspace(0, 1, height, device=device),
        torch.linspace(0, 1, width, device=device),
        indexing="ij",
    )
    return torch.stack([x.flatten(), y.flatten()], dim=-1)
