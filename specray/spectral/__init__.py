"""Patch features to Laplacian eigenvectors, batched, on CPU or GPU (DSM section 3.1)."""

from specray.spectral.affinity import cosine_affinity, resize_features
from specray.spectral.color import color_knn_affinity
from specray.spectral.config import SpectralConfig
from specray.spectral.decompose import decompose
from specray.spectral.signs import orient
from specray.spectral.solver import Eigenpairs, laplacian_eigenpairs

__all__ = [
    "Eigenpairs",
    "SpectralConfig",
    "color_knn_affinity",
    "cosine_affinity",
    "decompose",
    "laplacian_eigenpairs",
    "orient",
    "resize_features",
]
