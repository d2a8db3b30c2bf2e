"""Heads of other methods: which files they come from, and what they make of features."""

from __future__ import annotations

import re

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from specray.backbones import (
    DescriptorBackbone,
    Projection,
    check_channels,
    parse_projection,
    projected,
)
from specray.errors import UserError

C, D, K = 258, 7, 4  # the descriptor has as many channels


def parse(**state: Tensor) -> Projection:
    named = {name.replace("__", "."): tensor for name, tensor in state.items()}
    return parse_projection(safetensors.torch.save(named), "head.safetensors")


class Stego(nn.Module):
    """The head as it is published: 1 x 1 convolutions, a linear branch and another one."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster1 = nn.Sequential(nn.Conv2d(C, D, 1))
        self.cluster2 = nn.Sequential(nn.Conv2d(C, C, 1), nn.ReLU(), nn.Conv2d(C, D, 1))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.cluster1(x) + self.cluster2(x)
        return found


def test_a_checkpoint_of_stego_is_applied_as_it_was_trained() -> None:
    torch.manual_seed(0)
    head = Stego()
    state = {f"net.{name}": tensor for name, tensor in head.state_dict().items()}
    state |= {"cluster_probe.clusters": torch.randn(K, D), "net.model.pos_embed": torch.zeros(3)}
    found = parse_projection(safetensors.torch.save(state), "stego.safetensors")
    assert (found.channels, found.dimension) == (C, D)
    assert found.centres is not None and found.centres.shape == (K, D)
    features = torch.randn(2, C, 3, 5)
    expected = head(features).flatten(2).mT
    torch.testing.assert_close(found(features.flatten(2).mT), expected.detach(), rtol=0, atol=1e-5)


def test_either_branch_is_enough() -> None:
    weight, bias = torch.randn(D, C), torch.randn(D)
    linear = parse(linear__weight=weight, linear__bias=bias)
    x = torch.randn(1, 6, C)
    torch.testing.assert_close(linear(x), x @ weight.T + bias)
    hidden, output = torch.randn(9, C), torch.randn(D, 9)
    layers = {"nonlinear__0__weight": hidden, "nonlinear__2__weight": output}
    torch.testing.assert_close(parse(**layers)(x), (x @ hidden.T).relu() @ output.T)


def test_a_projected_backbone_has_the_projection_of_its_features() -> None:
    projection = parse(linear__weight=torch.randn(D, C))
    images = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    backbone = projected(DescriptorBackbone(), projection)
    torch.testing.assert_close(backbone(images), projection(DescriptorBackbone()(images)))
    assert backbone.patch_size == 16
    plain = DescriptorBackbone()
    assert projected(plain, None) is plain


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"head__weight": torch.zeros(D, C)}, "is no projection"),
        ({"nonlinear__0__weight": torch.zeros(D, C)}, "is no projection"),
        ({"linear__weight": torch.zeros(D, C, 3, 3)}, "not (D, C)"),
        ({"linear__weight": torch.zeros(D, C), "linear__bias": torch.zeros(1)}, "not (D,)"),
        ({"a__linear__weight": torch.zeros(D, C), "b__linear__weight": torch.zeros(D, C)}, "sever"),
        ({"linear__weight": torch.zeros(D, C), "centres": torch.zeros(K, 3)}, "do not fit"),
        (
            {"nonlinear__0__weight": torch.zeros(9, C), "nonlinear__2__weight": torch.zeros(D, 8)},
            "do not fit",
        ),
        ({"linear__weight": torch.full((D, C), torch.nan)}, "NaN"),
    ],
)
def test_what_is_no_projection_is_refused_in_one_line(
    state: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        parse(**state)
    assert "\n" not in str(caught.value)


def test_damage_and_other_channels_are_refused() -> None:
    with pytest.raises(UserError, match="no weights file"):
        parse_projection(b"nothing", "head.safetensors")
    with pytest.raises(UserError, match="takes 3 channels, the features of descriptor have 258"):
        check_channels(DescriptorBackbone(), parse(linear__weight=torch.zeros(D, 3)))
