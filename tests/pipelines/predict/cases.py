"""Prototypes of a kind, made without fitting them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from specray.backbones import Backbone, BackboneConfig, build_backbone
from specray.semantics.prototypes.classifier import Classifier
from tests.pipelines.photographs import photograph

CLASSES = 5


def descriptor_features() -> dict[str, Any]:
    """What prototypes say of the features of the descriptor, of images at native size."""
    named = {"backbone": "descriptor", "feature": "k", "block": -1, "precision": "auto"}
    return named | {"weights": None, "image_size": None, "cell": 16}


def vit_features(weights: Path) -> dict[str, Any]:
    """As `descriptor_features`, of the tokens of ViT-Tiny."""
    named = {"backbone": "vit_tiny_patch16_224", "feature": "token", "block": -1}
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return named | {"precision": "auto", "weights": digest, "image_size": None, "cell": 16}


def vit(weights: Path) -> Backbone:
    """The backbone of `vit_features`."""
    config = BackboneConfig("vit_tiny_patch16_224", str(weights), "token")
    return build_backbone(config, weights.read_bytes(), str(weights), "cpu")


def prototypes(backbone: Backbone, seed: int = 0) -> NDArray[np.float32]:
    """(K, C) directions of single patches of a photograph, from the mean of its patches."""
    image = torch.from_numpy(np.array(photograph())).permute(2, 0, 1)
    features = backbone(image[None])[0]
    places = np.random.default_rng(seed).choice(len(features), CLASSES, replace=False)
    head: NDArray[np.float32] = F.normalize(features[places] - features.mean(dim=0)).numpy()
    return head


def write_prototypes(path: Path, backbone: Backbone, features: dict[str, Any]) -> Path:
    """A file of momentum and running prototypes, which differ."""
    heads = prototypes(backbone), prototypes(backbone, seed=1)
    path.write_bytes(Classifier(*heads, features).to_bytes())
    return path
