"""The linear probe against autograd, and what it does not depend on."""

from __future__ import annotations

import copy
import dataclasses

import torch
import torch.nn.functional as F

from specray.semantics.prototypes.em import Images
from specray.semantics.prototypes.pixels import NONE
from specray.semantics.prototypes.probe import LinearProbe
from tests.semantics.prototypes.test_em import CHANNELS, images

CLASSES, RATE = 4, 5e-3


def labelled(seed: int) -> Images:
    """Noise whose masks are its true classes, and whose class 3 does not count."""
    batch = images(seed)
    return dataclasses.replace(batch, truth=batch.proposals[0])


def some(batch: Images, which: slice) -> Images:
    assert batch.truth is not None
    return Images(
        batch.grid,
        batch.clean[which],
        batch.view[which],
        batch.proposals[:, which],
        batch.truth[which],
    )


def test_steps_are_those_of_autograd_on_pixels() -> None:
    probe = LinearProbe(CLASSES, CHANNELS, RATE)
    weight = torch.zeros(CLASSES, CHANNELS, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(CLASSES, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weight, bias], RATE)
    for number in range(6):
        batch = labelled(number)
        assert batch.truth is not None
        logits = (batch.clean.double() @ weight.T + bias).mT.unflatten(-1, batch.grid)
        logits = F.interpolate(logits, batch.size, mode="bilinear", align_corners=False)
        loss = F.cross_entropy(logits, batch.truth.long(), ignore_index=NONE, reduction="sum")
        loss = loss / batch.truth.numel()
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert abs(probe.step([batch]) - float(loss.detach())) < 1e-6
    torch.testing.assert_close(probe.weight, weight.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(probe.bias, bias.detach(), rtol=0, atol=1e-6)


def test_a_batch_in_parts_gives_the_same_probe() -> None:
    whole, divided = (LinearProbe(CLASSES, CHANNELS, RATE) for _ in range(2))
    for number in range(10):
        batch = labelled(number)
        whole.step([batch])
        divided.step([some(batch, slice(i, None, 4)) for i in range(4)])
    torch.testing.assert_close(whole.weight, divided.weight, rtol=0, atol=1e-9)


def test_a_state_that_is_loaded_goes_on_bit_by_bit() -> None:
    whole, second = (LinearProbe(CLASSES, CHANNELS, RATE) for _ in range(2))
    for number in range(10):
        whole.step([labelled(number)])
        if number == 4:
            second.load_state_dict(copy.deepcopy(whole.state_dict()))
        elif number > 4:
            second.step([labelled(number)])
    assert torch.equal(whole.weight, second.weight) and torch.equal(whole.bias, second.bias)


def test_it_learns_what_is_linear_in_the_features() -> None:
    probe = LinearProbe(CLASSES, CHANNELS, 0.05)
    random = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (6, 20), generator=random)
    features = F.one_hot(classes, CHANNELS).float()
    truth = classes.view(6, 4, 5).repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    batch = Images((4, 5), features, features, truth[None], truth)
    losses = [probe.step([batch]) for _ in range(200)]
    assert losses[-1] < losses[0] / 3
    assert torch.equal(probe.scores(features, (4, 5)).argmax(1).flatten(1), classes)
