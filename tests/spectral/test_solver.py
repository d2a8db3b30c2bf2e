"""Promises of the solver beyond its accuracy: batches, fallback, determinism, bad input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from specray.spectral import Eigenpairs, cosine_affinity, laplacian_eigenpairs


def path_graph(patches: int) -> Tensor:
    """A chain, the worst case of a spectrum without gaps: ``(N, N)``."""
    index = torch.arange(patches)
    return ((index[:, None] - index[None]).abs() <= 1).float()


def random_graph(patches: int, seed: int) -> Tensor:
    features = torch.randn(patches, 16, generator=torch.Generator().manual_seed(seed))
    return cosine_affinity(features[None] + 0.3)[0]


@pytest.fixture(scope="module")
def mixed() -> tuple[Tensor, Eigenpairs]:
    """Easy, slow, degenerate and hopeless graphs in one batch."""
    label = torch.arange(240) % 3
    affinity = torch.stack(
        [
            random_graph(240, 0),
            path_graph(240),
            random_graph(240, 1),
            (label[:, None] == label[None]).float(),
            torch.eye(240),
            random_graph(240, 2),
        ]
    )
    return affinity, laplacian_eigenpairs(affinity, 5)


def test_an_image_gets_the_same_eigenpairs_alone_and_in_any_batch(
    mixed: tuple[Tensor, Eigenpairs],
) -> None:
    affinity, together = mixed
    for group in ([0], [1], [2], [3], [4], [5], [5, 0], [1, 2, 3], [5, 4, 3, 2, 1, 0]):
        pairs = laplacian_eigenpairs(affinity[group], 5)
        assert torch.allclose(pairs.values, together.values[group], atol=1e-6)
        assert torch.allclose(pairs.vectors, together.vectors[group], atol=1e-5)
        assert torch.equal(pairs.dense_fallback, together.dense_fallback[group])


def test_only_slow_or_degenerate_graphs_fall_back_to_the_dense_solver(
    mixed: tuple[Tensor, Eigenpairs],
) -> None:
    _, pairs = mixed
    assert pairs.dense_fallback.tolist() == [False, True, False, True, True, False]
    assert (pairs.residuals < 1e-5).all()


def test_the_fallback_is_exact(mixed: tuple[Tensor, Eigenpairs]) -> None:
    affinity, pairs = mixed
    degree = affinity[1].double().sum(-1)
    normalised = affinity[1].double() / (degree[:, None] * degree[None]).sqrt()
    expected = 1 - torch.linalg.eigvalsh(normalised).flip(0)[:5]
    assert torch.allclose(pairs.values[1].double(), expected, atol=1e-6)


def test_the_same_affinity_gives_the_same_bits_twice(mixed: tuple[Tensor, Eigenpairs]) -> None:
    affinity, first = mixed
    torch.manual_seed(99)  # the caller's random state has no say
    second = laplacian_eigenpairs(affinity, 5)
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.vectors, second.vectors)


def test_the_affinity_is_left_as_it_was(mixed: tuple[Tensor, Eigenpairs]) -> None:
    affinity, _ = mixed
    before = affinity.clone()
    laplacian_eigenpairs(affinity, 3)
    assert torch.equal(affinity, before)


def test_more_eigenvectors_begin_with_the_same_ones() -> None:
    affinity = random_graph(240, 4)[None]
    few, many = laplacian_eigenpairs(affinity, 2), laplacian_eigenpairs(affinity, 12)
    assert torch.allclose(few.values, many.values[:, :2], atol=1e-6)
    assert torch.allclose(few.vectors, many.vectors[:, :2], atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features = torch.ones(1, 100, 4)
    features[0, 3, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        laplacian_eigenpairs(cosine_affinity(features), 5)


def test_less_than_one_eigenpair_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        laplacian_eigenpairs(torch.eye(3)[None], 0)
