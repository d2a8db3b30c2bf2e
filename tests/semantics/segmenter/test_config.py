"""Values that cannot be, and those of the paper."""

from __future__ import annotations

import dataclasses
from typing import Any

import docstring_parser
import pytest

from specray.semantics.segmenter.config import NetworkConfig, SegmenterConfig


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"steps": 0}, "--steps"),
        ({"batch": 0}, "--batch"),
        ({"accumulate": 0}, "--accumulate"),
        ({"learning_rate": -1.0}, "--learning-rate"),
        ({"encoder_rate": -1.0}, "--encoder-rate"),
        ({"weight_decay": -1.0}, "--weight-decay"),
        ({"crop": 300}, "--crop 300 exceeds --short-side 256"),
        ({"class_balance": -0.5}, "--class-balance"),
        ({"min_confidence": 1.5}, "--min-confidence"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_flag(fields: dict[str, Any], flag: str) -> None:
    with pytest.raises(ValueError, match=flag):
        SegmenterConfig(**fields)


def test_a_number_of_parts_that_cannot_be_is_refused_by_its_flag() -> None:
    with pytest.raises(ValueError, match="--trainable"):
        NetworkConfig(trainable=-1)


@pytest.mark.parametrize("config", [NetworkConfig, SegmenterConfig])
def test_every_setting_is_explained(config: type[Any]) -> None:
    explained = {p.arg_name for p in docstring_parser.parse(config.__doc__ or "").params}
    assert explained == {field.name for field in dataclasses.fields(config)}


def test_the_encoder_follows_from_the_network_unless_it_is_named() -> None:
    assert NetworkConfig("deeplab").encoder_name == "resnet50"
    assert NetworkConfig("vit-linear").encoder_name == "vit_small_patch16_224.dino"
    assert (
        NetworkConfig("vit-linear", "vit_tiny_patch16_224").encoder_name == "vit_tiny_patch16_224"
    )
