"""Values that cannot be, and those of the paper."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize(
    ("fields", "flag"), [({"trainable": -1}, "--trainable"), ({"output_stride": 4}, "--output-str")]
)
def test_a_network_that_cannot_be_is_refused_by_its_flag(fields: dict[str, Any], flag: str) -> None:
    with pytest.raises(ValueError, match=flag):
        NetworkConfig(**fields)


def test_the_encoder_follows_from_the_network_unless_it_is_named() -> None:
    assert NetworkConfig("deeplab").encoder_name == "resnet50"
    assert NetworkConfig("vit-linear").encoder_name == "vit_small_patch16_224.dino"
    assert (
        NetworkConfig("vit-linear", "vit_tiny_patch16_224").encoder_name == "vit_tiny_patch16_224"
    )
