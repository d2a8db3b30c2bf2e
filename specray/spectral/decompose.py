"""The front door of the spectral room: patch features in, Laplacian eigenvectors out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from specray.spectral.affinity import cosine_affinity, rectified_gram, resize_features
from specray.spectral.color import color_knn_affinity
from specray.spectral.config import SpectralConfig
from specray.spectral.precision import draft_space
from specray.spectral.solver import Eigenpairs, images_at_once, solve_at_once


def decompose(
    features: Tensor,
    grid: tuple[int, int],
    patch_size: int,
    config: SpectralConfig,
    images: Tensor | None = None,
) -> tuple[Eigenpairs, tuple[int, int]]:
    """Eigenvectors of the patch graph of every image (DSM section 3.1).

    Parameters
    ----------
    features : Tensor
        ``(B, h*w, D)`` patch features, row-major over the grid.
    grid : tuple of int
        ``(h, w)`` of the features.
    patch_size : int
        Pixels per cell of ``grid``.
    config : SpectralConfig
        What to compute.
    images : Tensor, optional
        ``(B, 3, h*patch_size, w*patch_size)`` uint8 RGB; needed only if
        ``config.color_lambda > 0``.

    Returns
    -------
    pairs : Eigenpairs
        ``K`` eigenpairs per image, vectors ``(B, K, h'*w')``.
    grid : tuple of int
        ``(h', w')`` of the eigenvectors: ``grid`` unless ``config.downsample_factor`` changes it.

    Raises
    ------
    ValueError
        If colour is asked for without images, the features do not fit the grid or are not finite.
    """
    height, width = grid
    if features.shape[1] != height * width:
        raise ValueError(f"{features.shape[1]} patches do not fill a {height} x {width} grid")
    if config.color_lambda > 0 and images is None:
        raise ValueError("color_lambda above 0 needs the images")

    resized = config.cell(patch_size) != patch_size
    target = config.cells(grid, patch_size)
    # All parts share the memory of the N x N matrices: it stays in cache, and on a CPU fresh memory
    # would cost as much time as filling it.
    patches = target[0] * target[1]
    step = min(images_at_once(patches, features.device), max(len(features), 1))
    workspace = torch.empty(step, patches, patches, device=features.device)
    draft = draft_space(step, patches, features.device)
    parts = []
    for start in range(0, max(len(features), 1), step):
        part = features[start : start + step]
        out = workspace[: len(part)]
        if resized:
            affinity = rectified_gram(resize_features(part, grid, target), out)
        else:
            affinity = cosine_affinity(part, out)
        if config.color_lambda > 0 and images is not None:
            colors = _colors(images[start : start + step], target)
            affinity.add_(color_knn_affinity(colors), alpha=config.color_lambda)
        parts.append(solve_at_once(affinity, config.eigenvectors, draft))
    return Eigenpairs.cat(parts), target


def _colors(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """``(B, 3, h, w)`` mean colours in [0, 1] of uint8 images, smoothed as Pillow's resize does."""
    colors = images.float() / 255
    return F.interpolate(colors, grid, mode="bilinear", align_corners=False, antialias=True)
