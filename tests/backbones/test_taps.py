"""All features out of one pass are those of the passes for one feature each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from specray.backbones import VitBackbone, parse_weights
from specray.backbones.taps import Tap, VitTaps, every_tap
from specray.errors import UserError
from tests.backbones.test_vit import NAME, images, state_of

REGISTERS = "vit_small_patch14_reg4_dinov2.lvd142m"


def check(name: str, state: dict[str, Tensor], taps: list[Tap], pixels: Tensor) -> None:
    found = VitTaps(name, state, taps)(pixels)
    assert set(found) == set(taps)
    for block, feature in taps:
        alone = VitBackbone(name, state, feature=feature, block=block)(pixels)
        assert torch.equal(found[block, feature], alone), (block, feature)


def test_every_feature_of_every_block_equals_the_backbone_to_the_last_bit(vit_tiny: Path) -> None:
    state = parse_weights(vit_tiny.read_bytes(), str(vit_tiny))
    check(NAME, state, every_tap(12), images(2, 64, 96))


def test_prefix_tokens_layer_scale_and_a_few_taps() -> None:
    taps: list[Tap] = [(0, "token"), (2, "q"), (11, "token")]
    check(REGISTERS, state_of(REGISTERS), taps, images(1, 28, 42))


def test_blocks_behind_the_last_tap_are_not_computed() -> None:
    taps = VitTaps(NAME, state_of(NAME), [(3, "k")])
    assert (taps.depth, taps.native, taps.patch_size) == (12, (14, 14), 16)
    assert set(taps(images(1, 32, 32))) == {(3, "k")}
    assert len(taps._model.blocks) == 4
    assert taps._model.blocks[-1].block is None


def test_no_taps_are_all_of_them_and_negative_blocks_count_from_the_end() -> None:
    state, pixels = state_of(NAME), images(1, 32, 32)
    assert set(VitTaps(NAME, state)(pixels)) == set(every_tap(12))
    assert set(VitTaps(NAME, state, [(-1, "v")])(pixels)) == {(11, "v")}


def test_a_block_that_is_not_there() -> None:
    with pytest.raises(UserError, match="blocks 0 to 11"):
        VitTaps(NAME, state_of(NAME), [(12, "k")])
