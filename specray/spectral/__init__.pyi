from .affinity import cosine_affinity, resize_features
from .color import color_knn_affinity
from .config import SpectralConfig
from .decompose import decompose
from .signs import orient
from .solver import Eigenpairs, laplacian_eigenpairs

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
