"""Image batch to patch features: any timm ViT, and a descriptor that needs no weights."""

from specray.backbones.base import DESCRIPTOR, Backbone, build_backbone, check_licence
from specray.backbones.config import BackboneConfig
from specray.backbones.descriptor import DescriptorBackbone
from specray.backbones.vit import VitBackbone
from specray.backbones.weights import parse_weights, published_weights, sha256

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
    "sha256",
]
