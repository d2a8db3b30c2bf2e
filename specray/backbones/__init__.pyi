from .base import Backbone, CropEncoder, build_backbone, build_class_token
from .config import DESCRIPTOR, BackboneConfig, Jitter, ViewConfig
from .descriptor import DescriptorBackbone
from .licence import check_licence
from .projection import Projection, check_channels, parse_projection, projected
from .published import published_weights
from .views import apply_views, draw_view, mirrored, variants, view_pixels
from .vit import ClassToken, VitBackbone
from .weights import parse_weights

__all__ = [
    "DESCRIPTOR",
    "Backbone",
    "BackboneConfig",
    "ClassToken",
    "CropEncoder",
    "DescriptorBackbone",
    "Jitter",
    "Projection",
    "ViewConfig",
    "VitBackbone",
    "apply_views",
    "build_backbone",
    "build_class_token",
    "check_channels",
    "check_licence",
    "draw_view",
    "mirrored",
    "parse_projection",
    "parse_weights",
    "projected",
    "published_weights",
    "variants",
    "view_pixels",
]
