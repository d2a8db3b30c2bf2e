"""Golden checks 1 to 11 of the Deep Spectral Methods brief, against SciPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from specray.spectral import (
    Eigenpairs,
    color_knn_affinity,
    cosine_affinity,
    laplacian_eigenpairs,
    orient,
)

BOTH_SOLVERS = pytest.mark.parametrize("copies", [1, 5], ids=["dense", "iterative"])
"""40 patches are solved densely, 5 copies of each of them by the block iteration."""


def exact(affinity: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """``(D - W) x = lambda D x`` by LAPACK, float64: values ``(k,)``, vectors ``(k, N)``."""
    weights = affinity.double().numpy()
    degree = weights.sum(axis=1)
    degree[degree < 1e-12] = 1.0
    values, columns = scipy.linalg.eigh(
        np.diag(degree) - weights, np.diag(degree), subset_by_index=[0, k - 1]
    )
    return values, columns.T


def degrees(affinity: Tensor) -> Tensor:
    degree = affinity.sum(dim=-1)
    return torch.where(degree < 1e-12, 1.0, degree)


def soft_regions(
    patches: int = 300, regions: int = 6, seed: int = 0, common: float = 0.0
) -> Tensor:
    """``(1, N, 64)`` features of noisy regions; ``common`` adds a shared direction."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(regions, 64))
    label = np.sort(rng.integers(regions, size=patches))
    features = centres[label] + rng.normal(size=(patches, 64)) + common
    return torch.from_numpy(features).float()[None]


def two_blocks(small: int, large: int, cross: float) -> Tensor:
    label = torch.arange(small + large) < small
    same = label[:, None] == label[None]
    return torch.where(same, 1.0, cross)[None]


def assert_solves(affinity: Tensor, pairs: Eigenpairs, tolerance: float = 3e-5) -> None:
    """Ascending, in range, D-orthonormal, and a solution of the generalised problem."""
    for weights, values, vectors in zip(affinity, pairs.values, pairs.vectors, strict=True):
        degree = degrees(weights).double()
        x, value = vectors.double(), values.double()
        assert torch.isfinite(x).all()
        assert (value.diff() >= -1e-6).all()
        assert value.min() >= 0
        assert value.max() <= 2
        assert torch.allclose(x * degree @ x.T, torch.eye(len(x), dtype=torch.float64), atol=1e-4)
        residual = x * degree - x @ weights.double() - value[:, None] * x * degree
        assert (residual / degree.sqrt()).norm(dim=-1).max() < tolerance


@BOTH_SOLVERS
@pytest.mark.parametrize(("cross", "expected"), [(0.1, 0.1994609), (1e-3, 0.00226)])
def test_two_blocks_have_the_eigenvalues_of_the_closed_form(
    copies: int, cross: float, expected: float
) -> None:
    a, b = 15 * copies, 25 * copies
    pairs = laplacian_eigenpairs(two_blocks(a, b, cross), 5)
    closed_form = 2 - a / (a + cross * b) - b / (b + cross * a)
    assert pairs.values[0, 0] == 0
    assert pairs.values[0, 1].item() == pytest.approx(closed_form, abs=1e-6)
    assert closed_form == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(pairs.values[0, 2:], torch.ones(3), atol=1e-5)
    fiedler = pairs.vectors[0, 1]
    assert torch.allclose(fiedler[:a], fiedler[0].expand(a), rtol=1e-3)
    assert torch.allclose(fiedler[a:], fiedler[-1].expand(b), rtol=1e-3)


@BOTH_SOLVERS
def test_the_positive_side_is_exactly_the_smaller_block(copies: int) -> None:
    affinity = two_blocks(15 * copies, 25 * copies, 0.1)
    for weights in (affinity, affinity.flip(1, 2)):  # the small block first, then last
        smaller = weights[0, 0] == 1
        smaller = smaller if 2 * smaller.sum() < len(smaller) else ~smaller
        fiedler = laplacian_eigenpairs(weights, 2).vectors[0, 1]
        assert torch.equal(fiedler > 0, smaller)


@pytest.mark.parametrize("k", [2, 5, 15])
@pytest.mark.parametrize("common", [0.0, 2.0])
def test_eigenpairs_solve_the_generalised_problem_and_are_d_orthonormal(
    k: int, common: float
) -> None:
    affinity = cosine_affinity(soft_regions(common=common))
    pairs = laplacian_eigenpairs(affinity, k)
    assert pairs.values.shape == (1, k)
    assert pairs.vectors.shape == (1, k, 300)
    assert not pairs.dense_fallback.any()
    assert_solves(affinity, pairs)
    trivial = pairs.vectors[0, 0]
    assert trivial.max() / trivial.min() - 1 < 1e-4
    assert abs(pairs.values[0, 0]) < 1e-6


@BOTH_SOLVERS
@pytest.mark.parametrize("components", [2, 3, 7])
def test_every_component_adds_a_zero_eigenvalue_and_piecewise_constant_vectors(
    copies: int, components: int
) -> None:
    label = torch.arange(40 * copies) % components
    affinity = (label[:, None] == label[None]).float()[None]
    k = 5
    pairs = laplacian_eigenpairs(affinity, k)
    zeros = min(components, k)
    assert torch.allclose(pairs.values[0, :zeros], torch.zeros(zeros), atol=1e-6)
    assert torch.allclose(pairs.values[0, zeros:], torch.ones(k - zeros), atol=1e-5)
    for part in range(components):
        inside = pairs.vectors[0, :zeros, label == part]
        assert (inside - inside[:, :1]).abs().max() < 1e-5
    assert_solves(affinity, pairs)


def test_components_with_inner_structure_span_the_null_space_of_lapack() -> None:
    blocks = [cosine_affinity(soft_regions(patches=n, seed=n))[0] for n in (120, 90, 60)]
    affinity = torch.block_diag(*blocks)[None]
    pairs = laplacian_eigenpairs(affinity, 5)
    values, vectors = exact(affinity[0], 5)
    assert np.allclose(pairs.values[0], values, atol=1e-5)
    root = degrees(affinity[0]).sqrt().double().numpy()
    angles = scipy.linalg.subspace_angles(
        (pairs.vectors[0, :3].double().numpy() * root).T, (vectors[:3] * root).T
    )
    assert angles.max() < 1e-4


@BOTH_SOLVERS
def test_equal_features_give_eigenvalues_zero_then_ones(copies: int) -> None:
    affinity = cosine_affinity(torch.ones(2, 40 * copies, 8))
    pairs = laplacian_eigenpairs(affinity, 5)
    assert torch.allclose(pairs.values, torch.tensor([0.0, 1, 1, 1, 1]), atol=1e-5)
    assert_solves(affinity, pairs)


@BOTH_SOLVERS
def test_orthonormal_features_give_only_zero_eigenvalues(copies: int) -> None:
    affinity = cosine_affinity(torch.eye(40 * copies)[None])
    pairs = laplacian_eigenpairs(affinity, 5)
    assert torch.allclose(pairs.values, torch.zeros(1, 5), atol=1e-6)
    assert_solves(affinity, pairs)


@pytest.mark.parametrize("patches", [60, 300])
def test_a_zero_feature_row_is_isolated_with_eigenvalue_one(patches: int) -> None:
    features = soft_regions(patches)
    features[0, 7] = 0
    affinity = cosine_affinity(features)
    pairs = laplacian_eigenpairs(affinity, 5)
    values, _ = exact(affinity[0], 5)
    assert np.allclose(pairs.values[0], values, atol=1e-5)
    assert pairs.vectors[0, :, 7].abs().max() < 1e-6
    lone = torch.zeros(patches, dtype=torch.float64)
    lone[7] = 1.0
    assert torch.equal(lone - affinity[0].double() @ lone, lone)  # L e_7 = 1 * e_7
    assert_solves(affinity, pairs)


@BOTH_SOLVERS
def test_only_zero_features_give_eigenvalues_of_one(copies: int) -> None:
    affinity = cosine_affinity(torch.zeros(1, 40 * copies, 8))
    pairs = laplacian_eigenpairs(affinity, 3)
    assert torch.allclose(pairs.values, torch.ones(1, 3))
    assert_solves(affinity, pairs)


@pytest.mark.parametrize("patches", [1, 2, 3])
def test_fewer_patches_than_eigenvectors_give_one_pair_per_patch(patches: int) -> None:
    affinity = cosine_affinity(soft_regions(patches, regions=1).expand(2, -1, -1))
    pairs = laplacian_eigenpairs(affinity, 5)
    assert pairs.values.shape == (2, patches)
    assert pairs.vectors.shape == (2, patches, patches)
    assert pairs.residuals.shape == pairs.dense_fallback.shape == (2,)
    assert_solves(affinity, pairs)


def test_scaling_and_rotating_features_change_nothing() -> None:
    features = soft_regions()
    generator = torch.Generator().manual_seed(1)
    lengths = torch.rand(300, 1, generator=generator) + 0.1
    rotation, _ = torch.linalg.qr(torch.randn(64, 64, generator=generator))
    expected = laplacian_eigenpairs(cosine_affinity(features), 5)
    for same in (features * lengths, features @ rotation):
        pairs = laplacian_eigenpairs(cosine_affinity(same), 5)
        assert torch.allclose(pairs.values, expected.values, atol=1e-5)
        assert torch.allclose(pairs.vectors, expected.vectors, atol=1e-5)


def test_scaling_the_affinity_keeps_eigenvalues_and_scales_vectors() -> None:
    affinity = cosine_affinity(soft_regions())
    expected = laplacian_eigenpairs(affinity, 5)
    pairs = laplacian_eigenpairs(4 * affinity, 5)
    assert torch.allclose(pairs.values, expected.values, atol=1e-5)
    assert torch.allclose(2 * pairs.vectors, expected.vectors, atol=1e-5)


def test_permuting_patches_permutes_the_vectors() -> None:
    affinity = cosine_affinity(soft_regions())
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    expected = laplacian_eigenpairs(affinity, 5)
    pairs = laplacian_eigenpairs(affinity[:, order][:, :, order], 5)
    assert torch.allclose(pairs.values, expected.values, atol=1e-5)
    assert torch.allclose(pairs.vectors, expected.vectors[..., order], atol=1e-5)


def test_the_affinity_of_unit_features_has_a_unit_diagonal_and_is_symmetric() -> None:
    features = soft_regions(patches=333)
    affinity = cosine_affinity(features)[0]
    unit = features[0].double() / features[0].double().norm(dim=-1, keepdim=True)
    assert torch.allclose(affinity.double(), (unit @ unit.T).clamp_min(0), atol=1e-6)
    assert torch.allclose(affinity.diagonal(), torch.ones(333), atol=1e-6)
    assert torch.equal(affinity, affinity.T)


@pytest.mark.parametrize(
    ("positive", "flips"), [(0, False), (4, False), (5, False), (6, True), (9, True), (10, False)]
)
def test_the_sign_rule_flips_only_between_half_and_all_positive(positive: int, flips: bool) -> None:
    vector = torch.where(torch.arange(10) < positive, 2.0, -1.0)
    oriented = orient(vector)
    assert torch.equal(oriented, -vector if flips else vector)
    assert torch.equal(orient(oriented), oriented)


@pytest.mark.parametrize("common", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_solver_agrees_with_lapack_and_arpack(common: float, seed: int) -> None:
    affinity = cosine_affinity(soft_regions(patches=400, seed=seed, common=common))
    pairs = laplacian_eigenpairs(affinity, 5)
    values, vectors = exact(affinity[0], 5)
    assert not pairs.dense_fallback.any()
    assert np.abs(pairs.values[0].numpy() - values).max() < 1e-5

    root = degrees(affinity[0]).sqrt().double().numpy()
    arpack = scipy.sparse.linalg.eigsh(
        affinity[0].double().numpy() / np.outer(root, root), k=5, which="LA"
    )[0]
    assert np.abs(np.sort(1 - arpack) - pairs.values[0].numpy()).max() < 1e-5

    fiedler = pairs.vectors[0, 1].double().numpy()
    if values[2] - values[1] > 1e-3:
        assert abs(fiedler * root @ (vectors[1] * root)) > 0.9999
    truth = orient(torch.from_numpy(vectors[1])).numpy()
    certain = np.abs(truth) > 1e-4 * np.abs(truth).max()
    assert np.array_equal((fiedler > 0)[certain], (truth > 0)[certain])


def test_a_degenerate_cluster_spans_the_space_of_lapack() -> None:
    affinity = torch.full((400, 400), 0.1)
    for part in range(4):  # four equal blocks: eigenvalues 1 to 3 coincide
        affinity[100 * part : 100 * (part + 1), 100 * part : 100 * (part + 1)] = 1.0
    pairs = laplacian_eigenpairs(affinity[None], 4)
    values, vectors = exact(affinity, 4)
    assert np.allclose(pairs.values[0], values, atol=1e-5)
    angles = scipy.linalg.subspace_angles(pairs.vectors[0].double().numpy().T, vectors.T)
    assert angles.max() < 1e-3


def test_without_the_threshold_the_mask_would_be_another_one() -> None:
    features = soft_regions(patches=400, regions=3)
    unit = torch.nn.functional.normalize(features[0].double(), dim=-1)
    cosine = (unit @ unit.T).numpy()
    assert (cosine < 0).mean() > 0.3
    values, columns = scipy.linalg.eig(
        np.diag(cosine.sum(1)) - cosine, np.diag(cosine.sum(1)), right=True
    )
    second = np.argsort(values.real)[1]
    unthresholded = orient(torch.from_numpy(columns[:, second].real.copy())) > 0
    ours = laplacian_eigenpairs(cosine_affinity(features), 2).vectors[0, 1] > 0
    iou = (ours & unthresholded).sum() / (ours | unthresholded).sum()
    assert iou < 0.6


def _neighbour_counts(colors: Tensor) -> np.ndarray:
    """The colour adjacency ``(N, N)`` of one image by a k-d tree."""
    _, height, width = colors.shape
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    rgb = colors.double().flatten(1).T.numpy()
    counts = np.zeros((height * width, height * width))
    for neighbours, weight in ((20, 2.0), (10, 0.1)):
        points = np.column_stack([rgb, weight * x.ravel(), weight * y.ravel()])
        _, nearest = cKDTree(points).query(points, k=neighbours)
        for cell, row in enumerate(nearest):
            counts[cell, row] += 1
            counts[row, cell] += 1
    return counts


def test_color_affinity_counts_nearest_neighbours_of_a_kd_tree() -> None:
    colors = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(3))
    affinity = color_knn_affinity(colors)
    for image, counts in zip(colors, affinity, strict=True):
        assert np.array_equal(counts.numpy(), _neighbour_counts(image))


def test_color_affinity_holds_symmetric_integers_to_four_and_four_on_the_diagonal() -> None:
    affinity = color_knn_affinity(torch.rand(1, 3, 8, 8))[0]
    assert torch.equal(affinity, affinity.T)
    assert set(affinity.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    assert torch.equal(affinity.diagonal(), torch.full((64,), 4.0))
    assert affinity.sum() == 2 * 64 * 30  # 20 + 10 neighbours, the cell itself included


def test_color_affinity_of_a_constant_image_is_spatial() -> None:
    affinity = color_knn_affinity(torch.full((1, 3, 12, 12), 0.5))[0]
    y, x = torch.meshgrid(torch.arange(12), torch.arange(12), indexing="ij")
    centre = (x == 6) & (y == 6)
    near = ((x - 6) ** 2 + (y - 6) ** 2) <= 4  # 13 cells, all inside the first 20
    row = affinity[centre.flatten()][0].view(12, 12)
    assert (row[near] > 0).all()
    assert (row[(x - 6).abs() + (y - 6).abs() > 6] == 0).all()
