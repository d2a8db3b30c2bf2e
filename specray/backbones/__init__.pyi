from .base import Backbone, build_backbone
from .config import DESCRIPTOR, BackboneConfig
from .descriptor import DescriptorBackbone
from .licence import check_licence
from .vit import VitBackbone
from .weights import parse_weights, published_weights

__all__ = [
    "DESCRIPTOR",
    "Backbone",
    "BackboneConfig",
    "DescriptorBackbone",
    "VitBackbone",
    "build_backbone",
    "check_licence",
    "parse_weights",
    "published_weights",
]
