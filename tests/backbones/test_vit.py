"""Golden check 12: the features are the reference's keys, and depend on what they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from specray.backbones import VitBackbone, parse_weights
from specray.backbones.vit import ClassToken
from specray.errors import UserError

NAME = "vit_tiny_patch16_224"


def state_of(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a model, norms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    own = timm.create_model(name, num_classes=0, dynamic_img_size=True).state_dict()
    return {
        key: 0.05 * torch.randn(value.shape, generator=generator) + float("norm" in key)
        for key, value in own.items()
    }


def images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)


def hooked(
    name: str, state: dict[str, Tensor], block: int, pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """Output of a block's qkv projection, and of the block, in the untouched model."""
    model: Any = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(state)
    caught: dict[str, Tensor] = {}
    model.blocks[block].attn.qkv.register_forward_hook(lambda m, i, o: caught.update(qkv=o))
    model.blocks[block].register_forward_hook(lambda m, i, o: caught.update(token=o))
    cfg = model.pretrained_cfg
    mean, std = (torch.tensor(cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        model.forward_features((pixels / 255 - mean) / std)
    prefix = model.num_prefix_tokens
    return caught["qkv"][:, prefix:], caught["token"][:, prefix:]


@pytest.mark.parametrize("block", [-1, 0, 5])
@pytest.mark.parametrize(("feature", "part"), [("q", 0), ("k", 1), ("v", 2)])
def test_features_are_the_slices_of_the_qkv_projection(feature: str, part: int, block: int) -> None:
    state, pixels = state_of(NAME), images(2, 64, 96)
    backbone = VitBackbone(NAME, state, feature=feature, block=block)  # type: ignore[arg-type]
    features = backbone(pixels)
    assert features.shape == (2, 4 * 6, 192)
    expected = hooked(NAME, state, block, pixels)[0][..., 192 * part : 192 * (part + 1)]
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_tokens_of_an_inner_block_are_its_output() -> None:
    state, pixels = state_of(NAME), images(1, 64, 64)
    features = VitBackbone(NAME, state, feature="token", block=3)(pixels)
    torch.testing.assert_close(features, hooked(NAME, state, 3, pixels)[1], rtol=1e-4, atol=1e-5)


def test_tokens_of_the_last_block_are_normalised_as_the_model_does() -> None:
    state, pixels = state_of(NAME), images(1, 64, 64)
    model: Any = timm.create_model(NAME, num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(state)
    with torch.inference_mode():
        expected = model.forward_features((pixels / 255 - 0.5) / 0.5)[:, 1:]
    features = VitBackbone(NAME, state, feature="token")(pixels)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "patch", "prefix"),
    [
        ("vit_small_patch14_reg4_dinov2.lvd142m", 14, 5),
        ("vit_small_patch16_dinov3.lvd1689m", 16, 5),
        ("vit_small_patch8_224.dino", 8, 1),
    ],
)
def test_class_and_register_tokens_are_dropped(name: str, patch: int, prefix: int) -> None:
    state = state_of(name)
    backbone = VitBackbone(name, state)
    assert backbone.patch_size == patch
    pixels = images(1, 4 * patch, 5 * patch)
    features = backbone(pixels)
    assert features.shape == (1, 20, 384)
    model: Any = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    assert model.num_prefix_tokens == prefix
    moved = pixels.clone()
    moved[:, :, :patch, :patch] = 255 - moved[:, :, :patch, :patch]
    change = (backbone(moved) - features).abs().sum(dim=-1)
    assert int(change.argmax()) == 0  # the patch that changed is row 0, not the class token


def test_an_image_gives_the_same_features_alone_and_in_a_batch() -> None:
    backbone, pixels = VitBackbone(NAME, state_of(NAME)), images(3, 64, 96)
    alone = torch.cat([backbone(image[None]) for image in pixels])
    torch.testing.assert_close(backbone(pixels), alone, rtol=1e-5, atol=1e-5)


def test_the_native_size_uses_the_positions_unchanged() -> None:
    state, pixels = state_of(NAME), images(1, 224, 224)
    features = VitBackbone(NAME, state)(pixels)
    model: Any = timm.create_model(NAME, num_classes=0).eval()  # fixed size: nothing to interpolate
    model.load_state_dict(state)
    caught: list[Tensor] = []
    model.blocks[-1].attn.qkv.register_forward_hook(lambda m, i, o: caught.append(o))
    with torch.inference_mode():
        model.forward_features((pixels / 255 - 0.5) / 0.5)
    torch.testing.assert_close(features, caught[0][:, 1:, 192:384], rtol=1e-4, atol=1e-5)


def test_half_precision_stays_close_to_full() -> None:
    state, pixels = state_of(NAME), images(1, 64, 64)
    full, half = (
        VitBackbone(NAME, state, dtype=dtype)(pixels) for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(full, half, dim=-1).min() > 0.99


def test_a_classifier_head_in_the_weights_is_ignored(vit_tiny: Path) -> None:
    state = parse_weights(vit_tiny.read_bytes(), vit_tiny.name)
    assert any(key.startswith("head.") for key in state)
    assert VitBackbone(NAME, state)(images(1, 32, 32)).isfinite().all()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_225", "resnet50"])
def test_a_model_that_is_no_vit_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UserError) as caught:
        VitBackbone(name, {})
    assert "\n" not in str(caught.value)


def test_a_block_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="blocks 0 to 11"):
        VitBackbone(NAME, state_of(NAME), block=12)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(UserError, match="do not fit"):
        VitBackbone(NAME, state_of("vit_small_patch16_224"))


@pytest.mark.parametrize(
    ("name", "size"),
    [(NAME, (64, 96)), (NAME, (224, 224)), ("vit_small_patch14_reg4_dinov2.lvd142m", (56, 70))],
)
def test_the_class_token_is_that_of_the_untouched_model_bit_for_bit(
    name: str, size: tuple[int, int]
) -> None:
    state, pixels = state_of(name), images(2, *size)
    model: Any = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict(state)
    cfg = model.pretrained_cfg
    mean, std = (torch.tensor(cfg[key]).view(3, 1, 1) * 255 for key in ("mean", "std"))
    with torch.inference_mode():
        expected = model.forward_features((pixels.float() - mean) / std)[:, 0]
    tokens = ClassToken(name, state)(pixels)
    assert tokens.dtype == torch.float32
    assert torch.equal(tokens, expected)


def test_a_model_without_a_class_token_is_refused_with_the_remedy() -> None:
    name = "vit_wee_patch16_reg1_gap_256"
    state = state_of(name)
    assert VitBackbone(name, state)(images(1, 32, 32)).isfinite().all()  # its patches are fine
    with pytest.raises(UserError, match="no class token; use --describe mean") as caught:
        ClassToken(name, state)
    assert "\n" not in str(caught.value)
