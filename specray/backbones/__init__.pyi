from .base import Backbone, CropEncoder, build_backbone, build_class_token
from .config import DESCRIPTOR, BackboneConfig
from .descriptor import DescriptorBackbone
from .licence import check_licence
from .vit import ClassToken, VitBackbone
from .weights import parse_weights, published_weights

__all__ = [
    "DESCRIPTOR",
    "Backbone",
    "BackboneConfig",
    "ClassToken",
    "CropEncoder",
    "DescriptorBackbone",
    "VitBackbone",
    "build_backbone",
    "build_class_token",
    "check_licence",
    "parse_weights",
    "published_weights",
]
