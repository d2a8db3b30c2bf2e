"""Features of a real photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from specray.backbones import BackboneConfig, build_backbone


@pytest.fixture(scope="session")
def real_keys(assets: Path, vit_tiny: Path) -> Tensor:
    """``(868, 192)`` keys of a ViT-Tiny/16: 31 x 28 patches of a photograph of several things."""
    photograph = Image.open(assets / "data/coco_tiny/val2017/000000153299.jpg").convert("RGB")
    pixels = torch.from_numpy(np.array(photograph)[:496, :448]).permute(2, 0, 1)[None]
    config = BackboneConfig(backbone="vit_tiny_patch16_224", precision="fp32")
    backbone = build_backbone(config, vit_tiny.read_bytes(), vit_tiny.name, "cpu")
    return backbone(pixels)[0].clone()
