"""The published foreground and embedding, against NumPy and SciPy in float64."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from specray.masks import (
    SPECUNIIS,
    EmbeddingConfig,
    clean_foreground,
    instance_embedding,
    instance_foreground,
    masked_median,
)
from specray.masks.instances.embedding import noise_reduced
from specray.spectral import NoiseRule, foreground_eigenpairs
from tests.masks.instances.scenes import TOUCHING, features_of

Floats = NDArray[np.float64]
GRID = (31, 28)
"""Of the real photograph."""


def unit(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def entropies(rows: Floats, empty: float | None = None) -> list[float]:
    """Of the channels, in bits; `empty` is that of a channel with an empty bin."""
    found = []
    for column in rows.T:
        share = np.histogram(column.astype(np.float32), 30)[0] / len(column)
        entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
        found.append(empty if empty is not None and (share == 0).any() else entropy)
    return found


def lowest(values: list[float], count: int) -> NDArray[np.int64]:
    return np.argsort(values, kind="stable")[:count]


def eigenpairs(affinity: Floats, k: int | None = None) -> tuple[Floats, Floats]:
    """``(D - W) y = lambda D y``: values (k,) and vectors (k, N)."""
    degree = np.diag(affinity.sum(axis=1))
    wanted = None if k is None else (0, k - 1)
    values, vectors = scipy.linalg.eigh(degree - affinity, degree, subset_by_index=wanted)
    return values, vectors.T


@pytest.mark.parametrize("reduce", [True, False])
def test_foreground_of_a_photograph_is_that_of_the_published_chain(
    real_keys: Tensor, reduce: bool
) -> None:
    rows = unit(real_keys.double().numpy())
    if reduce:
        rows = rows[:, lowest(entropies(rows, empty=5), 64)]
    affinity = np.maximum(rows @ rows.T, 0)
    _, (_, fiedler) = eigenpairs(affinity / affinity.max(), 2)
    share = np.mean(fiedler > 0)
    positive = -fiedler > 0 if 0.5 < share < 1 else fiedler > 0
    expected = clean_foreground(positive.reshape(GRID))
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(instance_foreground(real_keys, GRID, reduce=reduce), expected)


def published_points(keys: Tensor, kept: int) -> Floats:
    """The channels that noise and deviation channel reduction leave, rows of unit length."""
    raw = keys.double().numpy()
    rows = unit(raw[:, lowest(entropies(raw), raw.shape[1] // 3)])
    return rows[:, np.argsort(-rows.std(axis=0, ddof=1), kind="stable")[:kept]]


def published_affinity(points: Floats) -> Floats:
    """Bray-Curtis over Chebyshev of all patches."""
    with np.errstate(invalid="ignore"):
        curtis = np.nan_to_num(1 / (1 + squareform(pdist(points, "braycurtis"))), nan=0)
    affinity: Floats = curtis * (1 + squareform(pdist(points, "chebyshev")))
    return affinity


def test_embedding_of_a_photograph_is_the_published_one_without_vectors_of_mere_background(
    real_keys: Tensor,
) -> None:
    mask = instance_foreground(real_keys, GRID)
    inside = mask.ravel()
    points = published_points(real_keys, kept=30) * inside[:, None]
    values, vectors = eigenpairs(published_affinity(points))
    # those of the background alone: zero on the foreground
    informative = np.abs(vectors[:, inside]).max(axis=1) > 1e-6
    values, vectors = values[informative][:5], vectors[informative][:5]

    found, embedding = instance_embedding(real_keys, mask, EmbeddingConfig(median="none"))
    np.testing.assert_allclose(found, values, atol=1e-6)
    ours = embedding.reshape(-1, 4).T[:, inside]
    cosines = np.abs((unit(ours.astype(np.float64)) * unit(vectors[1:, inside])).sum(axis=1))
    assert (cosines > 1 - 1e-6).all()


def test_merged_and_full_background_agree_on_the_foreground_below_its_eigenvalue(
    real_keys: Tensor,
) -> None:
    mask = instance_foreground(real_keys, GRID)
    merged, full = (
        instance_embedding(
            real_keys, mask, EmbeddingConfig(background=background, median="none", eigenvectors=20)
        )
        for background in ("merged", "full")
    )
    points = published_points(real_keys, kept=30)[mask.ravel()]
    degree = 1 + ((1 + np.abs(points).max(axis=1)) / 2).sum()
    defined = int((full[0] < 1 - 1 / degree - 1e-5).sum())
    assert defined > 3
    np.testing.assert_allclose(merged[0][:defined], full[0][:defined], atol=1e-6)
    a, b = (pair[1][mask].T[: defined - 1].astype(np.float64) for pair in (merged, full))
    assert (np.abs((unit(a) * unit(b)).sum(axis=1)) > 1 - 1e-6).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 192, 384, 768, 1000])
@pytest.mark.parametrize("rule", ["peaked", "filled"])
def test_noise_reduction_keeps_a_third_of_the_channels_with_rows_of_unit_length(
    channels: int, rule: NoiseRule
) -> None:
    reduced = noise_reduced(features_of(TOUCHING, channels=channels), rule)
    assert reduced.shape == (TOUCHING.size, max(channels // 3, 1))
    torch.testing.assert_close(reduced.norm(dim=1), torch.ones(TOUCHING.size))


def test_noise_reduction_keeps_the_channels_of_least_entropy(real_keys: Tensor) -> None:
    channels = lowest(entropies(real_keys.double().numpy()), 64)
    expected = F.normalize(real_keys[:, channels.tolist()], dim=1)
    torch.testing.assert_close(noise_reduced(real_keys, "peaked"), expected)


@pytest.mark.parametrize(
    ("share", "noise", "kept"),
    [
        (SPECUNIIS.deviation_share, "peaked", 60),
        (SPECUNIIS.deviation_share, None, 60),
        (0.25, "peaked", 96),
        (1.0, "peaked", 128),  # what noise reduction leaves
        (None, "peaked", 128),
        (None, None, 384),
        (0.001, None, 1),
    ],
)
def test_deviation_reduction_keeps_a_share_of_all_channels_at_most_what_is_left(
    share: float | None, noise: NoiseRule | None, kept: int
) -> None:
    features = features_of(TOUCHING, noise=1, channels=384)
    rows = features if noise is None else noise_reduced(features, noise)
    most = np.argsort(-rows.double().numpy().std(axis=0), kind="stable")[:kept]
    plain = EmbeddingConfig(noise=None, deviation_share=None)
    expected = instance_embedding(rows[:, np.sort(most).tolist()], TOUCHING > 0, plain)
    found = instance_embedding(
        features, TOUCHING > 0, EmbeddingConfig(noise=noise, deviation_share=share)
    )
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    ours, theirs = (pair[1][TOUCHING > 0].T.astype(np.float64) for pair in (found, expected))
    assert (np.abs((unit(ours) * unit(theirs)).sum(axis=1)) > 0.99).all()


def test_deviations_may_be_those_of_the_foreground_alone() -> None:
    features, mask = features_of(TOUCHING, noise=1), TOUCHING > 0
    features[:, 0] += 9 * torch.from_numpy(mask.ravel())  # contrast to the background alone
    plain = EmbeddingConfig(noise=None, deviation_share=None)
    inside = features[torch.from_numpy(mask.ravel())]
    for within, rows in ((True, inside), (False, features)):
        most = np.argsort(-rows.double().numpy().std(axis=0), kind="stable")[:15]
        assert (0 in most) != within
        config = EmbeddingConfig(noise=None, deviation_inside=within)
        found = instance_embedding(features, mask, config)
        expected = instance_embedding(features[:, most.tolist()], mask, plain)
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("median", ["masked", "replicated", "none"])
def test_median_is_over_the_foreground_or_the_whole_grid_or_there_is_none(
    median: Literal["masked", "replicated", "none"],
) -> None:
    features, mask = features_of(TOUCHING, noise=1), TOUCHING > 0
    config = EmbeddingConfig(noise=None, deviation_share=None, median=median)
    _, vectors = foreground_eigenpairs(features, torch.from_numpy(mask.ravel()), "boc", 5)
    maps = vectors[1:].T.reshape(*mask.shape, 4).numpy()
    if median == "masked":
        maps = masked_median(maps, mask)
    elif median == "replicated":
        padded = np.pad(maps, ((2, 2), (2, 2), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
        maps = np.median(windows, axis=(-2, -1))
    expected = np.where(mask[..., None], maps, 0)
    np.testing.assert_array_equal(instance_embedding(features, mask, config)[1], expected)


@pytest.mark.parametrize("factor", [2.0**-20, 0.1, 2.0**20])
def test_scale_of_the_features_does_not_matter(real_keys: Tensor, factor: float) -> None:
    mask = instance_foreground(real_keys, GRID)
    np.testing.assert_array_equal(instance_foreground(factor * real_keys, GRID), mask)
    for one, other in zip(
        instance_embedding(factor * real_keys, mask),
        instance_embedding(real_keys, mask),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("patches", [0, 1, 2, 3, 60])
def test_small_foregrounds_have_fewer_eigenvectors(patches: int) -> None:
    mask = np.arange(TOUCHING.size).reshape(TOUCHING.shape) < patches
    values, embedding = instance_embedding(features_of(TOUCHING), mask)
    assert len(values) == min(5, patches + 1)
    assert (np.diff(values) >= 0).all()
    assert embedding.shape == (*mask.shape, len(values) - 1)
    assert embedding.dtype == values.dtype == np.float32
    assert not embedding[~mask].any()


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 2), (1, 9)])
@pytest.mark.parametrize("looks", ["alike", "zero", "different"])
def test_tiny_grids_have_a_foreground_or_none(
    grid: tuple[int, int], looks: Literal["alike", "zero", "different"]
) -> None:
    features = {"alike": torch.ones, "zero": torch.zeros, "different": torch.rand}[looks]
    assert instance_foreground(features(grid[0] * grid[1], 12), grid).shape == grid
