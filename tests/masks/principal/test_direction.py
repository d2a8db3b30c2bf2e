"""The direction of the largest variance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from specray.masks.principal.direction import principal_directions


def covariances(spectra: list[list[float]]) -> Tensor:
    """(B, C, C) with given eigenvalues in random directions."""
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor(spectra, dtype=torch.float64)
    shape = (len(values), values.shape[1], values.shape[1])
    axes = torch.linalg.qr(torch.randn(shape, generator=generator, dtype=torch.float64))[0]
    found: Tensor = axes @ torch.diag_embed(values) @ axes.mT
    return found.float()


def leading(found: Tensor) -> Tensor:
    vectors: Tensor = torch.linalg.eigh(found.double())[1]
    return vectors[..., -1].float()


def decaying(rate: float, channels: int = 192) -> list[float]:
    return [(1 + i) ** -rate for i in range(channels)]


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 192])
def test_directions_are_those_of_lapack(channels: int) -> None:
    given = covariances([decaying(rate, channels) for rate in (0.1, 0.5, 1, 3)])
    found, fallback = principal_directions(given)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    assert ((found * leading(given)).sum(1).abs() > 1 - 1e-6).all()
    assert not fallback[1:].any()


@pytest.mark.parametrize("gap", [0.01, 0.05, 0.2])
def test_a_close_second_direction_is_told_apart(gap: float) -> None:
    spectrum = [1.0, 1 - gap, *(0.3 * value for value in decaying(1, 190))]
    given = covariances([spectrum])
    found, _ = principal_directions(given)
    assert abs(float((found * leading(given)).sum())) > 1 - 1e-4


def test_no_axis_has_a_larger_variance() -> None:
    given = covariances([decaying(rate) for rate in (0.5, 1, 2)])
    found, _ = principal_directions(given)
    along = torch.einsum("bi,bij,bj->b", found, given, found)
    assert (along >= given.diagonal(dim1=1, dim2=2).amax(1)).all()


def test_where_none_is_largest_lapack_chooses_one() -> None:
    given = torch.stack([torch.eye(50), torch.zeros(50, 50), covariances([decaying(2, 50)])[0]])
    found, fallback = principal_directions(given)
    assert fallback.tolist() == [True, True, False]
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_scale_makes_no_difference(scale: float) -> None:
    given = covariances([decaying(1)])
    found, _ = principal_directions(given * scale)
    assert abs(float((found * leading(given)).sum())) > 1 - 1e-6
