"""Affinities of pairs of patches: worked examples, SciPy in float64, and what must always hold."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from torch import Tensor
from torch.nn import functional as F

from specray.spectral import Metric, pairwise_affinity
from specray.spectral.pairwise import DistanceMetric, tiled_affinity

DISTANCES: dict[DistanceMetric, str] = {
    "braycurtis": "braycurtis",
    "chebyshev": "chebyshev",
    "l1": "cityblock",
    "l2": "euclidean",
}
METRICS: tuple[Metric, ...] = get_args(Metric)
OF_DISTANCES: tuple[DistanceMetric, ...] = ("boc", *DISTANCES)


def unit_rows(patches: int, channels: int, batch: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(batch, patches, channels, generator=generator), dim=-1)


def similarity(rows: NDArray[np.float64], distance: str) -> NDArray[np.float64]:
    """``1 / (1 + d)`` in the published way: 0 where that is not finite, ``d = 0`` on diagonals."""
    with np.errstate(all="ignore"):
        found = 1 / (1 + squareform(pdist(rows, distance)))
    finite: NDArray[np.float64] = np.nan_to_num(found, nan=0, posinf=0, neginf=0)
    return finite


def published(features: Tensor, metric: Metric) -> NDArray[np.float64]:
    """``(B, N, N)`` by SciPy in float64."""
    images = features.double().numpy()
    if metric == "boc":
        parts = [similarity(x, "braycurtis") / similarity(x, "chebyshev") for x in images]
    elif metric == "dot":
        parts = [np.maximum(x @ x.T, 0) for x in images]
    elif metric == "cosine":
        parts = [np.maximum(1 - squareform(pdist(x, "cosine")), 0) for x in images]
    else:
        parts = [similarity(x, DISTANCES[metric]) for x in images]
    return np.stack(parts)


def boc(*rows: tuple[float, ...]) -> Tensor:
    return pairwise_affinity(torch.tensor(rows)[None], "boc")[0]


@pytest.mark.parametrize(
    ("u", "v", "braycurtis", "chebyshev", "expected"),
    [
        ((1, 0, 0), (0, 1, 0), 1, 1, 1.0),
        ((1, 0, 0), (0.6, 0.8, 0), 0.5, 0.8, 1.2),
        ((0.6, 0.8), (-0.3, -0.4), 3, 1.2, 0.55),
        ((3, 4), (4, 3), 1 / 7, 1, 1.75),
        ((1, -1), (-0.5, 1), 7, 2, 0.375),
        ((1, -2, 3), (-1, 2, -3), float("inf"), 6, 0.0),
        ((0, 0, 0), (1, -2, 3), 1, 3, 2.0),
        ((1, -2, 3), (1, -2, 3), 0, 0, 1.0),
    ],
)
@pytest.mark.parametrize("tiled", [False, True], ids=["compiled", "tiled"])
def test_worked_examples(
    u: tuple[float, ...],
    v: tuple[float, ...],
    braycurtis: float,
    chebyshev: float,
    expected: float,
    tiled: bool,
) -> None:
    features = torch.tensor([u, v], dtype=torch.float32)[None]
    affinity = tiled_affinity if tiled else pairwise_affinity
    values: dict[DistanceMetric, float] = {
        "boc": expected,
        "braycurtis": 1 / (1 + braycurtis),
        "chebyshev": 1 / (1 + chebyshev),
    }
    for metric, value in values.items():
        found = affinity(features, metric)[0]
        assert found[0, 1].item() == pytest.approx(value, abs=1e-6)
        assert torch.equal(found, found.T)
        assert torch.equal(found.diagonal(), torch.ones(2))


@pytest.mark.parametrize("tiled", [False, True], ids=["compiled", "tiled"])
def test_two_rows_of_zeros_are_alike_only_where_no_sum_divides(tiled: bool) -> None:
    affinity = tiled_affinity if tiled else pairwise_affinity
    zeros = torch.zeros(1, 3, 5)
    for metric in OF_DISTANCES:
        divided = metric in ("boc", "braycurtis")
        expected = torch.eye(3) if divided else torch.ones(3, 3)
        assert torch.equal(affinity(zeros, metric)[0], expected)


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_a_row_of_zeros_points_nowhere(metric: Metric) -> None:
    assert torch.equal(pairwise_affinity(torch.zeros(1, 3, 5), metric), torch.zeros(1, 3, 3))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("patches", "channels"), [(1, 3), (130, 30), (600, 61), (1100, 192)])
def test_unit_rows_have_scipys_affinities_to_a_millionth(
    metric: Metric, patches: int, channels: int
) -> None:
    features = unit_rows(patches, channels, batch=2)
    found = pairwise_affinity(features, metric)
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - published(features, metric)).max() < 1e-6
    assert torch.equal(found, found.mT)


@pytest.mark.parametrize("metric", OF_DISTANCES)
def test_tiles_of_any_size_have_scipys_affinities_and_those_of_the_kernel(
    metric: DistanceMetric,
) -> None:
    features = unit_rows(301, 61, batch=2)
    kernel = pairwise_affinity(features, metric)
    for workspace in (1, 2**17, 2**28):  # a row, a few rows, and all of them at a time
        found = tiled_affinity(features, metric, workspace)
        assert np.abs(found.numpy() - published(features, metric)).max() < 1e-6
        assert torch.allclose(found, kernel, rtol=0, atol=1e-6)
        assert torch.equal(found, found.mT)


@pytest.mark.parametrize("metric", METRICS)
def test_real_features_have_scipys_affinities_to_a_millionth(
    metric: Metric, real_keys: Tensor
) -> None:
    features = F.normalize(real_keys, dim=-1)[None, ::3, :60]
    expected = published(features, metric)
    assert np.abs(pairwise_affinity(features, metric).numpy() - expected).max() < 1e-6
    if metric in OF_DISTANCES:
        assert np.abs(tiled_affinity(features, metric).numpy() - expected).max() < 1e-6


rows_of_numbers = st.integers(1, 6).flatmap(
    lambda channels: st.lists(
        st.lists(
            st.floats(-10, 10, width=32, allow_subnormal=False),
            min_size=channels,
            max_size=channels,
        ),
        min_size=2,
        max_size=7,
    )
)


@settings(deadline=None, max_examples=80)
@given(rows=rows_of_numbers)
def test_boc_is_symmetric_bounded_and_one_on_the_diagonal(rows: list[list[float]]) -> None:
    features = torch.tensor(rows)
    affinity = boc(*map(tuple, rows))
    farthest = torch.cdist(features[None], features[None], float("inf"))[0]
    assert torch.equal(affinity, affinity.T)
    assert torch.equal(affinity.diagonal(), torch.ones(len(rows)))
    assert (affinity >= 0).all()
    assert (affinity <= (1 + farthest) * (1 + 1e-5)).all()
    one_signed = boc(*map(tuple, (features.abs() + 0.1).tolist()))
    assert (one_signed >= 0.5).all()


@settings(deadline=None, max_examples=80)
@given(rows=rows_of_numbers, seed=st.integers(0, 1000))
def test_boc_ignores_the_order_and_the_sign_of_channels_and_channels_of_zeros(
    rows: list[list[float]], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.tensor(rows)[None]
    channels = features.shape[-1]
    expected = pairwise_affinity(features, "boc")
    signs = 2.0 * torch.randint(2, (channels,), generator=generator) - 1
    order = torch.randperm(channels, generator=generator)
    assert torch.equal(pairwise_affinity(features * signs, "boc"), expected)
    permuted = pairwise_affinity(features[..., order], "boc")
    assert torch.allclose(permuted, expected, rtol=1e-4, atol=1e-6)
    padded = F.pad(features, (0, 5))
    assert torch.equal(pairwise_affinity(padded, "boc"), expected)


def test_bray_curtis_ignores_a_common_scale_and_chebyshev_is_linear_in_it() -> None:
    features = unit_rows(50, 12)
    for scale in (0.5, 4.0):
        same, larger = (
            pairwise_affinity(scale**power * features, "braycurtis") for power in (0, 1)
        )
        assert torch.equal(same, larger)
        near, far = (
            1 / pairwise_affinity(scale**power * features, "chebyshev") - 1 for power in (0, 1)
        )
        assert torch.allclose(far, scale * near, atol=1e-5)
        assert not torch.allclose(
            pairwise_affinity(features, "boc"), pairwise_affinity(scale * features, "boc"), atol=0.1
        )


def test_bray_curtis_is_no_metric() -> None:
    corners = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]])
    distance = (1 / pairwise_affinity(corners, "braycurtis") - 1)[0]
    assert distance[0, 1].item() == pytest.approx(1)
    assert (distance[0, 2] + distance[2, 1]).item() == pytest.approx(2 / 3)


def test_an_image_has_the_same_affinities_alone_and_in_a_batch() -> None:
    features = unit_rows(90, 17, batch=3)
    for metric in METRICS:
        together = pairwise_affinity(features, metric)
        assert torch.equal(pairwise_affinity(features[1:2], metric), together[1:2])


def test_half_precision_and_strided_features_are_compared_in_single_precision() -> None:
    features = unit_rows(40, 24).half()
    for metric in METRICS:
        expected = pairwise_affinity(features.float(), metric)
        assert torch.equal(pairwise_affinity(features, metric), expected)
        assert torch.equal(
            pairwise_affinity(features.repeat_interleave(2, 2)[..., ::2], metric), expected
        )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features = unit_rows(9, 4)
    features[0, 3, 1] = bad
    for metric in METRICS:
        with pytest.raises(ValueError, match="finite"):
            pairwise_affinity(features, metric)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="hamming"):
        pairwise_affinity(unit_rows(9, 4), "hamming")  # type: ignore[arg-type]
