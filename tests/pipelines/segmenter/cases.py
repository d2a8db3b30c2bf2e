"""Semantic maps of photographs, and a small encoder: nothing that has to be downloaded."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import timm
import torch

from specray.backbones import DescriptorBackbone
from specray.pipelines.config import RunConfig
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.predict.job import run_predict
from tests.pipelines.photographs import BAD, write_photographs
from tests.pipelines.predict.cases import descriptor_features, write_prototypes

IMAGES = 18
ENCODER = "test_vit"


def write_labels(folder: Path) -> Path:
    """A predict run with confidences; the photographs are beside it in ``in``, one is broken."""
    write_photographs(folder / "in", IMAGES)
    (folder / "in" / "a" / "broken.jpg").write_bytes(BAD["truncated.jpg"][0])
    model = write_prototypes(
        folder / "prototypes.safetensors", DescriptorBackbone(), descriptor_features()
    )
    run = RunConfig(shard_size=8, batch_size=4, num_workers=1)
    where = (str(model), str(folder / "in"), str(folder / "out"))
    result = run_predict(PredictConfig(*where, refine="none", confidence=True, run=run))
    assert (result["images"], result["errors"]) == (IMAGES + 1, 1)
    return folder / "out"


def write_encoder(path: Path) -> Path:
    """Random weights of a ViT of 300,000 parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = timm.create_model(ENCODER, num_classes=0).state_dict()
    path.write_bytes(safetensors.torch.save(state))
    return path
