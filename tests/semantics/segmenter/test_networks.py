"""What is built: shapes, weights, which parts train, and what nothing depends on."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from specray.errors import UserError
from specray.semantics.segmenter.config import Network, NetworkConfig, Norm
from specray.semantics.segmenter.dropout import ImageDropout
from specray.semantics.segmenter.networks import SegmentationNetwork, build_network
from specray.semantics.segmenter.norms import SyncedBatchNorm
from tests.semantics.segmenter.cases import CLASSES, ENCODERS, NETWORKS, batch, small


def weights_of(name: str, **fields: Any) -> dict[str, Tensor]:
    """Random weights of a timm model, with its classifier and with statistics of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model: nn.Module = timm.create_model(name, **fields)
        state = model.state_dict()
        return {
            key: torch.rand_like(value) + 0.5 if "running" in key else value
            for key, value in state.items()
        }


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(64, 64), (50, 83)])
def test_every_pixel_has_logits_whatever_the_size(network: Network, size: tuple[int, int]) -> None:
    built = small(network)
    images = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        logits = built(images)
        assert logits.shape == (2, CLASSES, *size) and logits.dtype == torch.float32
        torch.testing.assert_close(built(images.float()), logits, rtol=0, atol=0)
        grid = built.grid_logits(images)
    assert grid.shape[2] == -(-size[0] // built.stride) * built.stride // built.cell


@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_seed_makes_the_same_network_whatever_was_drawn_before(network: Network) -> None:
    first = small(network, seed=1).state_dict()
    torch.rand(7)
    before = torch.random.get_rng_state()
    again, other = small(network, seed=1).state_dict(), small(network, seed=2).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first if "head" in name)


@pytest.mark.parametrize("network", NETWORKS)
def test_with_group_norms_an_image_in_training_does_not_see_the_others(network: Network) -> None:
    built = small(network).train()
    images, _, seeds = batch(3)
    with torch.no_grad():
        whole = built(images, seeds)
        alone = torch.cat([built(images[i : i + 1], seeds[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-5)


def test_dropout_follows_from_the_seeds_of_the_images() -> None:
    dropout, x = ImageDropout(0.5).train(), torch.ones(2, 8, 6, 6)
    dropout.seeds = [3, 4]
    found = dropout(x)
    assert not torch.equal(found[0], found[1])
    dropout.seeds = [4]
    assert torch.equal(dropout(x[:1])[0], found[1])
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert float((found > 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert torch.equal(dropout.eval()(x), x)
    with pytest.raises(ValueError, match="2 images and 1 seeds"):
        dropout.train()(x)


def trained(network: SegmentationNetwork) -> set[str]:
    names = [name for name, each in network.encoder.named_parameters() if each.requires_grad]
    return {".".join(name.removeprefix("model.").split(".")[:2]) for name in names}


def test_the_last_stage_of_a_convolutional_encoder_trains_and_no_other() -> None:
    config = NetworkConfig("deeplab", "resnet18")
    built = build_network(config, CLASSES, None)
    assert trained(built) == {"layer4.0", "layer4.1"}
    assert all(each.requires_grad for each in built.head.parameters())
    two = build_network(NetworkConfig("deeplab", "resnet18", trainable=2), CLASSES, None)
    assert {name.split(".")[0] for name in trained(two)} == {"layer3", "layer4"}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_last_blocks_of_a_vit_train_with_the_norm_behind_them(count: int) -> None:
    found = trained(small("vit-linear", trainable=count))
    blocks = {f"blocks.{i}" for i in range(12 - count, 12)}
    assert found == (blocks | {"norm.weight", "norm.bias"} if count else set())


@pytest.mark.parametrize("network", NETWORKS)
def test_all_parts_train_if_asked_to(network: Network) -> None:
    built = small(network, trainable="all")
    assert all(each.requires_grad for each in built.encoder.parameters())


def test_more_parts_than_there_are_are_refused() -> None:
    with pytest.raises(UserError, match="--trainable 13: vit_tiny_patch16_224 has 12 parts"):
        small("vit-linear", trainable=13)


def test_what_is_frozen_keeps_its_statistics_in_training() -> None:
    weights = weights_of("resnet18")
    images, _, seeds = batch(2)
    for norm in ("group", "batch"):
        config = NetworkConfig("deeplab", "resnet18", norm=norm)
        built = build_network(config, CLASSES, weights).train()
        before = {name: each.clone() for name, each in built.named_buffers()}
        built(images, seeds)
        changed = {n for n, each in built.named_buffers() if not torch.equal(each, before[n])}
        if norm == "group":
            assert not changed
        else:
            assert changed and all("layer4" in name or "head" in name for name in changed)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_norms_are_those_that_are_asked_for(norm: Norm) -> None:
    built = build_network(NetworkConfig("deeplab", "resnet18", norm=norm), CLASSES, None)
    kind = nn.GroupNorm if norm == "group" else SyncedBatchNorm
    assert sum(isinstance(each, kind) for each in built.head.modules()) == 9
    assert not any(isinstance(each, nn.BatchNorm2d) for each in built.head.modules())
    synced = sum(isinstance(each, SyncedBatchNorm) for each in built.encoder.modules())
    assert synced == (5 if norm == "batch" else 0)  # layer4 of a ResNet-18


def test_deeplab_is_that_of_the_paper() -> None:
    built = build_network(NetworkConfig("deeplab", "resnet50"), 21, None)
    convolutions = [each for each in built.head.modules() if isinstance(each, nn.Conv2d)]
    dilations = [each.dilation[0] for each in convolutions if each.dilation[0] > 1]
    assert dilations == [12, 24, 36]
    assert [each.share for each in built.head.modules() if isinstance(each, ImageDropout)] == [0.5]
    assert any(each.in_channels == 256 and each.out_channels == 48 for each in convolutions)
    assert any(each.in_channels == 304 for each in convolutions)
    assert convolutions[-1].out_channels == 21
    with torch.inference_mode():
        found = built.encoder(torch.rand(1, 3, 64, 64))
    assert [each.shape[-1] for each in found[1:]] == [32, 16, 8, 8, 8]


def test_a_resnet_of_torchvision_is_dilated_as_torchvision_does_it() -> None:
    model: Any = torchvision.models.resnet50(replace_stride_with_dilation=[False, True, True])
    weights = {
        key: torch.rand_like(value) + 0.5 if "running" in key else value
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(weights)
    built = build_network(NetworkConfig("deeplab", "resnet50"), CLASSES, weights)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = [model.eval().relu(model.bn1(model.conv1(x)))]
        expected.append(model.layer1(model.maxpool(expected[0])))
        for layer in (model.layer2, model.layer3, model.layer4):
            expected.append(layer(expected[-1]))
        for own, other in zip(built.encoder(x)[1:], expected, strict=True):
            torch.testing.assert_close(own, other)


def test_weights_are_read_by_the_names_that_they_have_in_the_whole_model() -> None:
    weights = weights_of("convnext_atto")
    built = build_network(NetworkConfig("deeplab", "convnext_atto"), CLASSES, weights)
    model: Any = timm.create_model("convnext_atto", output_stride=8).eval()
    model.load_state_dict(weights)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = model.forward_intermediates(x, indices=[3], intermediates_only=True)[0]
        torch.testing.assert_close(built.encoder(x)[-1], expected)


def test_tokens_of_a_vit_are_those_of_its_weights() -> None:
    name = ENCODERS["vit-decoder"]
    weights = weights_of(name, dynamic_img_size=True)
    built = build_network(NetworkConfig("vit-decoder", name), CLASSES, weights)
    model: Any = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("head.")})
    caught: dict[int, Tensor] = {}
    for i in (7, 11):
        model.blocks[i].register_forward_hook(lambda m, a, o, i=i: caught.update({i: o}))
    x = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        model.forward_features(x)
        for own, i in zip(built.encoder(x), (7, 11), strict=True):
            expected = model.norm(caught[i])[:, 1:].mT.unflatten(-1, (3, 4))
            torch.testing.assert_close(own, expected)


@pytest.mark.parametrize(
    ("network", "name"), [("deeplab", "resnet18"), ("vit-linear", "vit_tiny_patch16_224")]
)
def test_weights_that_do_not_fit_are_refused_in_one_line(network: Network, name: str) -> None:
    weights = weights_of(name)
    last = [key for key in weights if key.endswith("weight") and "head" not in key][-3]
    lacking = {key: value for key, value in weights.items() if key != last}
    for wrong in (lacking, weights | {"more": weights[last]}, weights | {last: torch.ones(3)}):
        with pytest.raises(UserError, match=f"do not fit {name}.*name the --encoder") as caught:
            build_network(NetworkConfig(network, name), CLASSES, wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        ("deeplab", "resnet19", "timm knows no model named 'resnet19'"),
        ("deeplab", "vit_tiny_patch16_224", "choose a resnet"),
        ("vit-linear", "resnet18", "no ViT"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused_with_the_remedy(
    network: Network, name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_network(NetworkConfig(network, name), CLASSES, None)
