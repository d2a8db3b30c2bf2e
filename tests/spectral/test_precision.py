"""The draft of the affinity: it saves time and must not show in the result."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from specray.spectral import SpectralConfig, cosine_affinity, decompose, laplacian_eigenpairs
from specray.spectral.dense import dense_eigenpairs
from specray.spectral.laplacian import normalized_affinity
from specray.spectral.precision import draft_dtype
from specray.spectral.solver import Eigenpairs, images_at_once, solve_at_once
from specray.spectral.subspace import leading_eigenpairs


def graphs(batch: int = 3, patches: int = 300, common: float = 0.5) -> Tensor:
    """``(B, N, N)`` affinities of noisy regions."""
    generator = torch.Generator().manual_seed(batch)
    centres = torch.randn(batch, 6, 32, generator=generator)
    label = torch.randint(6, (patches,), generator=generator).sort().values
    noise = torch.randn(batch, patches, 32, generator=generator)
    return cosine_affinity(centres[:, label] + noise + common)


def solved(affinity: Tensor, dtype: torch.dtype, k: int = 5) -> Eigenpairs:
    return solve_at_once(affinity, k, torch.empty_like(affinity, dtype=dtype))


@pytest.mark.parametrize("common", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("k", [2, 5])
def test_a_bfloat16_draft_changes_neither_eigenpairs_nor_masks(common: float, k: int) -> None:
    affinity = graphs(common=common)
    plain, drafted = solve_at_once(affinity, k, None), solved(affinity, torch.bfloat16, k)
    assert not plain.dense_fallback.any()
    assert not drafted.dense_fallback.any()
    assert torch.allclose(plain.values, drafted.values, atol=1e-6)
    assert torch.allclose(plain.vectors, drafted.vectors, atol=1e-5)
    fiedler = plain.vectors[:, 1]
    certain = fiedler.abs() > 1e-4 * fiedler.abs().amax(-1, keepdim=True)
    assert torch.equal((fiedler > 0)[certain], (drafted.vectors[:, 1] > 0)[certain])


def test_the_residual_is_that_of_the_affinity_and_not_of_its_draft() -> None:
    affinity = graphs()
    pairs = solved(affinity, torch.bfloat16)
    degree = affinity.double().sum(-1)[:, None]
    x = pairs.vectors.double()
    error = x @ affinity.double() - (1 - pairs.values[..., None].double()) * degree * x
    residuals = (error / degree.sqrt()).norm(dim=-1).amax(-1)
    assert residuals.max() < 1e-5
    assert torch.allclose(residuals.float(), pairs.residuals, atol=1e-6)


def test_a_draft_of_another_graph_slows_the_sweeps_but_cannot_mislead_them() -> None:
    affinity = graphs()
    exact = dense_eigenpairs(normalized_affinity(affinity), 4)[0]
    wrong = replace(normalized_affinity(affinity), draft=affinity.flip(0).roll((7, 7), dims=(1, 2)))
    values, _, residuals, reliable = leading_eigenpairs(wrong, 4)
    assert reliable.all()
    assert torch.allclose(values, exact, atol=1e-6)
    assert (residuals <= 1e-5).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hopeless_graphs_fall_back_whatever_the_draft(dtype: torch.dtype) -> None:
    label = torch.arange(300) % 3
    affinity = torch.stack([graphs()[0], (label[:, None] == label[None]).float(), torch.eye(300)])
    pairs = solved(affinity, dtype)
    assert pairs.dense_fallback.tolist() == [False, True, True]
    assert torch.allclose(pairs.values[1], torch.tensor([0.0, 0, 0, 1, 1]), atol=1e-5)
    assert (pairs.residuals < 1e-5).all()


def test_the_draft_type_is_one_the_device_multiplies() -> None:
    assert draft_dtype(torch.device("cpu")) in (torch.float32, torch.bfloat16)
    assert draft_dtype(torch.device("meta")) == torch.float32


@pytest.mark.parametrize("patches", [100, 900])
def test_working_in_parts_gives_every_image_what_it_gets_alone(patches: int) -> None:
    side = int(patches**0.5)
    batch = images_at_once(patches, torch.device("cpu")) + 1
    few = torch.randn(3, patches, 16, generator=torch.Generator().manual_seed(0)) + 0.5
    features = few[torch.arange(batch) % 3]
    together, _ = decompose(features, (side, side), 16, SpectralConfig())
    affinity = laplacian_eigenpairs(cosine_affinity(features), 5)
    assert len(together.vectors) == len(affinity.vectors) == batch
    for index in (0, batch - 1):
        alone, _ = decompose(features[index : index + 1], (side, side), 16, SpectralConfig())
        for pairs in (together, affinity):
            assert torch.allclose(alone.vectors[0], pairs.vectors[index], atol=1e-5)
            assert torch.allclose(alone.values[0], pairs.values[index], atol=1e-6)


def test_an_affinity_written_to_given_memory_is_the_same() -> None:
    features = torch.randn(2, 77, 8, generator=torch.Generator().manual_seed(0))
    out = torch.full((2, 77, 77), torch.nan)
    assert cosine_affinity(features, out).data_ptr() == out.data_ptr()
    assert torch.equal(out, cosine_affinity(features))
    assert torch.equal(out, out.mT)
