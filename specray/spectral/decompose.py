"""The front door of the spectral room: patch features in, Laplacian eigenvectors out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from specray.spectral.affinity import cosine_affinity, rectified_gram, resize_features
from specray.spectral.color import color_knn_affinity
from specray.spectral.config import SpectralConfig
from specray.spectral.solver import Eigenpairs, laplacian_eigenpairs


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

    cell = config.downsample_factor or patch_size
    if cell == patch_size:
        target = grid
        affinity = cosine_affinity(features)
    else:
        target = (max(height * patch_size // cell, 1), max(width * patch_size // cell, 1))
        affinity = rectified_gram(resize_features(features, grid, target))
    if config.color_lambda > 0 and images is not None:
        affinity.add_(color_knn_affinity(_colors(images, target)), alpha=config.color_lambda)
    return laplacian_eigenpairs(affinity, config.eigenvectors), target


def _colors(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """``(B, 3, h, w)`` mean colours in [0, 1] of uint8 images, smoothed as Pillow's resize does."""
    colors = images.float() / 255
    return F.interpolate(colors, grid, mode="bilinear", align_corners=False, antialias=True)
