from .affinity import cosine_affinity, rectified_gram, resize_features
from .channels import (
    NoiseRule,
    channel_deviation,
    channel_entropy,
    high_deviation_channels,
    low_entropy_channels,
    take_channels,
)
from .color import color_knn_affinity
from .config import SpectralConfig
from .decompose import decompose
from .flat import flat_eigenpairs
from .merged import Background, foreground_eigenpairs, merge_background
from .pairwise import Metric, pairwise_affinity
from .signs import orient
from .solver import Eigenpairs, laplacian_eigenpairs

__all__ = [
    "Background",
    "Eigenpairs",
    "Metric",
    "NoiseRule",
    "SpectralConfig",
    "channel_deviation",
    "channel_entropy",
    "color_knn_affinity",
    "cosine_affinity",
    "decompose",
    "flat_eigenpairs",
    "foreground_eigenpairs",
    "high_deviation_channels",
    "laplacian_eigenpairs",
    "low_entropy_channels",
    "merge_background",
    "orient",
    "pairwise_affinity",
    "rectified_gram",
    "resize_features",
    "take_channels",
]
