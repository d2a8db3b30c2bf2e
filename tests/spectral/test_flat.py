"""Eigenpairs of flat graphs: as accurate as of others, and in the same order."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.spectral import cosine_affinity, flat_eigenpairs, laplacian_eigenpairs

Floats = NDArray[np.float64]


def two_blocks(first: int, second: int, cross: float) -> Tensor:
    label = torch.arange(first + second) < first
    return torch.where(label[:, None] == label[None], 1.0, cross)[None]


def nearly_flat(patches: int, unevenness: float, hub: float, seed: int = 0) -> Tensor:
    """All about equally similar, and a last node of many edges but little weight of its own."""
    features = torch.randn(patches, 20, generator=torch.Generator().manual_seed(seed))
    affinity = 1 + unevenness * cosine_affinity(features[None] + 0.3)
    affinity[:, -1] *= hub
    affinity[:, :, -1] *= hub
    affinity[:, -1, -1] = 1
    return affinity


def exact(affinity: Tensor, k: int) -> tuple[Floats, Floats, Floats]:
    weights = affinity.double().numpy()
    degree = weights.sum(1)
    values, columns = scipy.linalg.eigh(
        np.diag(degree) - weights, np.diag(degree), subset_by_index=[0, k - 1]
    )
    return values, columns.T, degree


@pytest.mark.parametrize(
    ("small", "large", "cross", "expected"), [(5, 5, 0.5, 2 / 3), (6, 3, 0.2, 0.37662)]
)
@pytest.mark.parametrize("copies", [1, 40], ids=["dense", "iterative"])
def test_two_blocks_have_the_eigenvalue_of_the_closed_form(
    small: int, large: int, cross: float, expected: float, copies: int
) -> None:
    first, second = small * copies, large * copies
    affinity = two_blocks(first, second, cross)
    pairs = flat_eigenpairs(affinity, 2)
    closed = 2 - first / (first + cross * second) - second / (second + cross * first)
    assert closed == pytest.approx(expected, abs=1e-5)
    assert pairs.values[0, 0] == 0
    assert pairs.values[0, 1].item() == pytest.approx(closed, abs=1e-6)
    trivial, fiedler = pairs.vectors[0]
    assert torch.allclose(trivial, trivial[0].expand(len(trivial)), rtol=1e-5)
    assert torch.allclose(fiedler[:first], fiedler[0].expand(first), rtol=1e-4)
    assert torch.allclose(fiedler[first:], fiedler[-1].expand(second), rtol=1e-4)
    assert fiedler[0] * fiedler[-1] < 0
    x = pairs.vectors[0].double()
    product = x * affinity[0].double().sum(1) @ x.T
    assert torch.allclose(product, torch.eye(2, dtype=torch.float64), atol=1e-5)
    scaled = flat_eigenpairs(4 * affinity, 2)
    assert torch.allclose(scaled.values, pairs.values, atol=1e-6)
    assert torch.equal(scaled.vectors > 0, pairs.vectors > 0)


@pytest.mark.parametrize("unevenness", [0.01, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("hub", [1.0, 300.0])
def test_pairs_are_those_of_lapack_without_the_dense_solver(unevenness: float, hub: float) -> None:
    affinity = nearly_flat(400, unevenness, hub)
    pairs = flat_eigenpairs(affinity, 5)
    values, vectors, degree = exact(affinity[0], 5)
    assert not pairs.dense_fallback.any()
    assert np.abs(pairs.values[0].numpy() - values).max() < 1e-6
    cosines = np.abs((pairs.vectors[0].double().numpy() * degree * vectors).sum(1))
    assert cosines.min() > 1 - 1e-6


def test_a_mixed_batch_is_solved_graph_by_graph() -> None:
    affinity = torch.cat(
        [nearly_flat(200, 0.1, 100.0), two_blocks(120, 80, 0.2), torch.eye(200)[None]]
    )
    together = flat_eigenpairs(affinity, 4)
    simple = (4, 2, 0)  # of a repeated eigenvalue, which vectors come depends on the processor
    for index, count in enumerate(simple):
        alone = flat_eigenpairs(affinity[index : index + 1], 4)
        assert torch.allclose(alone.values[0], together.values[index], atol=1e-6)
        pairs = zip(alone.vectors[0, :count], together.vectors[index, :count], strict=True)
        for one, other in pairs:
            assert torch.allclose(one, other, atol=1e-5)
        weights = affinity[index].double()
        degree = weights.sum(1)
        for found in (alone.vectors[0].double(), together.vectors[index].double()):
            error = found * degree - found @ weights
            error -= together.values[index, :, None].double() * found * degree
            assert (error / degree.sqrt()).norm(dim=1).max() < 1e-5
            product = found * degree @ found.T
            assert torch.allclose(product, torch.eye(4, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(together.values[2], torch.zeros(4), atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_graph_without_any_structure_has_eigenvalues_of_one(constant: float) -> None:
    affinity = torch.full((1, 200, 200), constant)
    expected = laplacian_eigenpairs(affinity, 5)
    pairs = flat_eigenpairs(affinity, 5)
    assert torch.allclose(pairs.values, expected.values, atol=1e-5)
    assert pairs.vectors.isfinite().all()


def test_the_outlier_below_does_not_pass_for_a_repeated_eigenvalue() -> None:
    # rows all alike but for a hub: eigenvalue 1 again and again, and one well above it
    affinity = torch.ones(1, 200, 200)
    affinity[:, -1] = affinity[:, :, -1] = 100.0
    affinity[:, -1, -1] = 0.0
    values, _, degree = exact(affinity[0], 200)
    assert values[-1] > 1.3
    pairs = flat_eigenpairs(affinity, 8)
    assert np.allclose(pairs.values[0], values[:8], atol=1e-6)
    x = pairs.vectors[0].double().numpy()
    error = x * degree - x @ affinity[0].double().numpy()
    error -= pairs.values[0].double().numpy()[:, None] * x * degree
    assert np.linalg.norm(error / np.sqrt(degree), axis=1).max() < 1e-5


def test_isolated_patches_keep_eigenvalue_one() -> None:
    affinity = nearly_flat(200, 0.5, 1.0)
    affinity[:, :3] = 0
    affinity[:, :, :3] = 0
    pairs = flat_eigenpairs(affinity, 5)
    expected = laplacian_eigenpairs(affinity, 5)
    assert torch.allclose(pairs.values, expected.values, atol=1e-6)
    assert pairs.vectors[0, :, :3].abs().max() < 1e-6


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_affinities_that_are_not_finite_are_refused(bad: float) -> None:
    affinity = nearly_flat(200, 0.5, 1.0)
    affinity[0, 3, 5] = affinity[0, 5, 3] = bad
    with pytest.raises(ValueError, match="finite"):
        flat_eigenpairs(affinity, 5)
