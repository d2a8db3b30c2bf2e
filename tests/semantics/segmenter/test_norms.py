"""Batch norms over the images of all workers, against torch's over all images at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from specray.semantics.prototypes.em import Sum
from specray.semantics.segmenter.norms import SyncedBatchNorm, replace_batch_norms, synchronise
from tests.semantics.segmenter.workers import together

CHANNELS = 5


def norm() -> nn.BatchNorm2d:
    found = nn.BatchNorm2d(CHANNELS).double()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in (found.weight, found.bias, found.running_mean, found.running_var):
            assert each is not None
            each.copy_(torch.rand(CHANNELS, generator=random, dtype=torch.float64) + 0.5)
    return found


def images(seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return 3 + 2 * torch.randn(8, CHANNELS, 4, 6, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_outputs_slopes_and_statistics_are_those_of_the_whole_batch(workers: int) -> None:
    x, slope = images(0), images(1)
    reference, leaf = norm(), x.clone().requires_grad_()
    expected = reference(leaf)
    (expected * slope).sum().backward()

    def work(rank: int, add_up: Sum) -> tuple[Tensor, ...]:
        synced = SyncedBatchNorm(norm())
        synchronise(synced, add_up if workers > 1 else None)
        own = x[rank::workers].clone().requires_grad_()
        found = synced(own)
        (found * slope[rank::workers]).sum().backward()
        assert own.grad is not None
        assert synced.weight.grad is not None and synced.bias.grad is not None
        parameters = torch.stack([synced.weight.grad, synced.bias.grad])
        running = torch.stack([synced.running_mean, synced.running_var])
        return found.detach(), own.grad, parameters, running

    results = together(workers, work)
    assert leaf.grad is not None and reference.weight.grad is not None
    for rank, (found, of_images, _, running) in enumerate(results):
        torch.testing.assert_close(found, expected[rank::workers].detach())
        torch.testing.assert_close(of_images, leaf.grad[rank::workers])
        torch.testing.assert_close(running[0], reference.running_mean)
        torch.testing.assert_close(running[1], reference.running_var)
    of_parameters = torch.stack([each[2] for each in results]).sum(dim=0)
    torch.testing.assert_close(of_parameters[0], reference.weight.grad)
    torch.testing.assert_close(of_parameters[1], reference.bias.grad)


def test_in_evaluation_it_is_that_of_torch() -> None:
    reference = norm().eval()
    synced = SyncedBatchNorm(norm()).eval()
    torch.testing.assert_close(synced(images(2)), reference(images(2)))


def test_only_what_trains_is_replaced() -> None:
    frozen, trained = nn.BatchNorm2d(48), nn.BatchNorm2d(48)
    frozen.requires_grad_(False)
    inner = nn.Sequential(trained)
    module = nn.Sequential(frozen, inner)
    replace_batch_norms(module, "group")
    assert module[0] is frozen
    group = inner[0]
    assert isinstance(group, nn.GroupNorm) and group.num_groups == 16  # 32 does not divide 48
