"""The network and the way to it are right: it learns real labels of a few images by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from specray.backbones import parse_weights
from specray.semantics.segmenter.config import NetworkConfig, SegmenterConfig
from specray.semantics.segmenter.loss import IGNORED
from specray.semantics.segmenter.networks import build_network
from specray.semantics.segmenter.trainer import SegmenterTrainer

SIZE = (256, 192)
IMAGES, BATCH, STEPS, CLASSES = 20, 4, 120, 11


def camvid(assets: Path) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) frames of the whole training split and their (B, H, W) ground truth."""
    folder = assets / "data" / "camvid" / "train"
    paths = sorted((folder / "images").iterdir())[::18][:IMAGES]
    pixels, truth = [], []
    for path in paths:
        image = Image.open(path).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        labels = Image.open(folder / "labels" / f"{path.stem}.png")
        pixels.append(np.array(image))
        truth.append(np.array(labels.resize(SIZE, Image.Resampling.NEAREST)))
    joined = np.stack(truth)
    known = np.where(joined == CLASSES, IGNORED, joined).astype(np.uint8)
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), torch.from_numpy(known)


@pytest.mark.slow
def test_twenty_real_images_are_learnt_by_heart(assets: Path, vit_tiny: Path) -> None:
    images, truth = camvid(assets)
    weights = parse_weights(vit_tiny.read_bytes(), vit_tiny.name)
    network = build_network(
        NetworkConfig("vit-decoder", "vit_tiny_patch16_224", trainable=4), CLASSES, weights
    )
    config = SegmenterConfig(steps=STEPS, batch=BATCH, learning_rate=5e-4)
    fitted = SegmenterTrainer(network, config)
    random = np.random.default_rng(0)
    for _ in range(STEPS * BATCH // IMAGES):
        for chosen in random.permutation(IMAGES).reshape(-1, BATCH):
            fitted.step(images[chosen], truth[chosen], chosen.tolist())
    with torch.inference_mode():
        found = torch.cat([network.eval()(image[None]) for image in images])
    counted = truth != IGNORED
    accuracy = float((found.argmax(dim=1) == truth)[counted].float().mean())
    assert accuracy > 0.9
