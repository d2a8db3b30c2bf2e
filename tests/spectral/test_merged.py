"""The background as one node, against the whole problem solved by LAPACK in float64."""

from __future__ import annotations

from typing import NamedTuple, get_args

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from torch import Tensor
from torch.nn import functional as F

from specray.spectral import (
    Background,
    Metric,
    cosine_affinity,
    flat_eigenpairs,
    foreground_eigenpairs,
    high_deviation_channels,
    laplacian_eigenpairs,
    low_entropy_channels,
    merge_background,
    orient,
    pairwise_affinity,
    take_channels,
)

K = 5
METRICS: tuple[Metric, ...] = get_args(Metric)
BACKGROUNDS: tuple[Background, ...] = get_args(Background)
Floats = NDArray[np.float64]


def reduced(keys: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    """The paper's instance features ``(N, kept)`` of an image, and its foreground ``(N,)``."""
    third = keys.shape[-1] // 3
    unit = F.normalize(keys[None], dim=-1)
    quiet = take_channels(unit, low_entropy_channels(keys[None], third, "filled"))
    mask = laplacian_eigenpairs(cosine_affinity(quiet), 2).vectors[0, 1] > 0
    rows = take_channels(keys[None], low_entropy_channels(keys[None], third, "peaked"))
    rows = F.normalize(rows, dim=-1)
    return take_channels(rows, high_deviation_channels(rows, kept))[0], mask


def published_boc(features: Tensor, mask: Tensor) -> Floats:
    """``(N, N)`` by SciPy in float64, background rows zero."""
    rows = (features * mask[:, None]).double().numpy()
    with np.errstate(all="ignore"):
        similarity = np.nan_to_num(1 / (1 + squareform(pdist(rows, "braycurtis"))), nan=0)
        affinity: Floats = similarity * (1 + squareform(pdist(rows, "chebyshev")))
    return affinity


class Solution(NamedTuple):
    """All eigenpairs of a whole problem, ascending."""

    values: Floats
    vectors: Floats
    degree: Floats


def solve(affinity: Floats) -> Solution:
    degree = affinity.sum(1)
    degree[degree < 1e-12] = 1
    root = np.sqrt(degree)
    values, columns = scipy.linalg.eigh(affinity / root / root[:, None])
    return Solution(1 - values[::-1], columns[:, ::-1].T / root, degree)


def cosines(a: Floats, b: Floats) -> Floats:
    found: Floats = np.abs((a * b).sum(1)) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found


def random_image(foreground: int, background: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    patches = foreground + background
    centres = torch.randn(4, 12, generator=generator)
    label = torch.randint(4, (patches,), generator=generator)
    rows = centres[label] + torch.randn(patches, 12, generator=generator)
    mask = torch.randperm(patches, generator=generator) < foreground
    return F.normalize(rows, dim=-1), mask


@pytest.fixture(scope="module", params=[30, 60], ids=lambda kept: f"{kept}-channels")
def real(request: pytest.FixtureRequest, real_keys: Tensor) -> tuple[Tensor, Tensor, Solution]:
    features, mask = reduced(real_keys, request.param)
    return features, mask, solve(published_boc(features, mask))


def test_on_real_features_merged_pairs_are_those_of_the_whole_problem(
    real: tuple[Tensor, Tensor, Solution],
) -> None:
    features, mask, whole = real
    foreground = mask.numpy()
    own = 1 - 1 / whole.degree[~foreground][0]
    informative = np.abs(whole.values - own) > 1e-9
    values, vectors = foreground_eigenpairs(features, mask, "boc", 8)
    assert np.abs(values.numpy() - whole.values[informative][:8]).max() < 1e-6
    expected = whole.vectors[informative][:8]
    found = vectors.double().numpy()
    assert cosines(found[:, foreground], expected[:, foreground]).min() >= 1 - 1e-6
    assert cosines(found, expected).min() >= 1 - 1e-6
    assert np.allclose(found * whole.degree @ found.T, np.eye(8), atol=1e-5)


def test_on_real_features_the_whole_spectrum_repeats_that_of_the_background(
    real: tuple[Tensor, Tensor, Solution],
) -> None:
    features, mask, whole = real
    longest = features[mask].double().abs().amax(1)
    degree = 1 + ((1 + longest) / 2).sum().item()
    assert np.allclose(whole.degree[~mask.numpy()], degree, rtol=1e-12)
    repeated = np.abs(whole.values - (1 - 1 / degree)) < 1e-10
    assert repeated.sum() == (~mask).sum().item() - 1
    assert np.abs(whole.vectors[repeated][:, mask.numpy()]).max() < 1e-8


def test_on_real_features_full_is_the_published_problem(
    real: tuple[Tensor, Tensor, Solution],
) -> None:
    features, mask, whole = real
    values, vectors = foreground_eigenpairs(features, mask, "boc", K, "full")
    assert np.abs(values.numpy() - whole.values[:K]).max() < 1e-6
    found = vectors.double().numpy()
    error = found * whole.degree - found @ published_boc(features, mask)
    error -= values[:, None].double().numpy() * found * whole.degree
    assert np.linalg.norm(error / np.sqrt(whole.degree), axis=1).max() < 1e-5


def test_real_features_need_no_dense_solver_when_merged(
    real: tuple[Tensor, Tensor, Solution],
) -> None:
    features, mask, _ = real
    merged = merge_background(features[mask], int((~mask).sum()), "boc")
    assert not flat_eigenpairs(merged[None], K).dense_fallback.any()


def test_merged_sees_past_the_modes_of_the_background() -> None:
    features, mask = random_image(40, 150)
    full, _ = foreground_eigenpairs(features, mask, "boc", K, "full")
    merged, vectors = foreground_eigenpairs(features, mask, "boc", K)
    assert (full.diff() < 1e-6).any()  # the same eigenvalue again and again
    assert (merged.diff() > 1e-5).all()
    assert (vectors[:, mask].std(1)[1:] > 1e-3).all()


def test_the_merged_affinity_of_boc_has_its_closed_form() -> None:
    features, mask = random_image(70, 50)
    merged = merge_background(features[mask], 50, "boc")
    edges = 50 * (1 + features[mask].abs().amax(1)) / 2
    assert torch.allclose(merged[-1, :-1], edges)
    assert torch.equal(merged, merged.T)
    assert merged[-1, -1] == 50
    assert torch.equal(merged[:-1, :-1], pairwise_affinity(features[mask][None], "boc")[0])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("foreground", "background"), [(70, 50), (100, 1), (1, 30), (12, 500)])
def test_merging_adds_up_the_edges_of_the_background(
    metric: Metric, foreground: int, background: int
) -> None:
    features, mask = random_image(foreground, background)
    zeroed = features * mask[:, None]
    nodes = torch.where(mask, mask.cumsum(0) - 1, foreground)
    belongs = F.one_hot(nodes, foreground + 1).double()
    affinity = pairwise_affinity(zeroed[None], metric)[0].double()
    expected = belongs.T @ affinity @ belongs
    merged = merge_background(features[mask], background, metric)
    assert torch.allclose(merged.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("foreground", "background"), [(20, 15), (150, 90)])
def test_merged_pairs_solve_the_whole_problem(
    metric: Metric, foreground: int, background: int
) -> None:
    features, mask = random_image(foreground, background)
    values, vectors = foreground_eigenpairs(features, mask, metric, K)
    affinity = pairwise_affinity((features * mask[:, None])[None], metric)[0].double()
    degree = affinity.sum(1)
    degree[degree < 1e-12] = 1
    x, value = vectors.double(), values.double()[:, None]
    assert value[0] == 0 and (value.diff(dim=0) >= 0).all()
    assert torch.equal(x[:, ~mask], x[:, ~mask][:, :1].expand(-1, background))
    residual = (x * degree - x @ affinity - value * x * degree) / degree.sqrt()
    assert residual.norm(dim=1).max() < 3e-5
    assert torch.allclose(x * degree @ x.T, torch.eye(K, dtype=torch.float64), atol=1e-4)


def test_signs_are_those_of_the_whole_image() -> None:
    # a large background tips the majority of patches, though it is one node of many
    features, mask = random_image(150, 400)
    _, vectors = foreground_eigenpairs(features, mask, "boc", K)
    assert torch.equal(orient(vectors), vectors)
    positive = (vectors[1:] > 0).sum(1)
    assert (2 * positive <= len(mask)).all()


def test_dropped_is_the_problem_of_the_foreground_alone() -> None:
    features, mask = random_image(150, 90)
    values, vectors = foreground_eigenpairs(features, mask, "boc", K, "dropped")
    alone = solve(published_boc(features[mask], mask[mask]))
    assert np.abs(values.numpy() - alone.values[:K]).max() < 1e-6
    assert cosines(vectors[:, mask].double().numpy(), alone.vectors[:K]).min() >= 1 - 1e-6
    assert torch.equal(vectors[:, ~mask], torch.zeros(K, 90))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("patches", [1, 3, 70])
@pytest.mark.parametrize("foreground", [0, 1, 2, 70])
def test_degenerate_masks_give_as_many_pairs_as_there_are_nodes(
    metric: Metric, background: Background, patches: int, foreground: int
) -> None:
    features, _ = random_image(patches, 0)
    mask = torch.arange(patches) < foreground
    inside = min(foreground, patches)
    nodes = {"full": patches, "dropped": inside, "merged": inside + (inside < patches)}
    values, vectors = foreground_eigenpairs(features, mask, metric, K, background)
    pairs = min(K, nodes[background])
    assert values.shape == (pairs,) and vectors.shape == (pairs, patches)
    assert values.dtype == vectors.dtype == torch.float32
    assert values.isfinite().all() and vectors.isfinite().all()
    assert (values >= 0).all() and (values <= 2).all() and (values.diff() >= -1e-6).all()


def test_without_background_all_three_are_the_same() -> None:
    features, _ = random_image(120, 0)
    mask = torch.ones(120, dtype=torch.bool)
    merged, full, dropped = (
        foreground_eigenpairs(features, mask, "boc", K, background) for background in BACKGROUNDS
    )
    for values, vectors in (full, dropped):
        assert torch.equal(values, merged[0])
        assert torch.equal(vectors, merged[1])


def test_features_of_the_background_have_no_say() -> None:
    features, mask = random_image(80, 60)
    changed = torch.where(mask[:, None], features, torch.nan)
    for background in BACKGROUNDS:
        expected = foreground_eigenpairs(features, mask, "boc", K, background)
        found = foreground_eigenpairs(changed, mask, "boc", K, background)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_less_than_one_eigenpair_is_refused() -> None:
    features, mask = random_image(80, 60)
    for background in BACKGROUNDS:
        with pytest.raises(ValueError, match="at least 1"):
            foreground_eigenpairs(features, mask, "boc", 0, background)
