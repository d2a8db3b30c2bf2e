"""Noise and deviation channel reduction, against NumPy and worked examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from specray.spectral import (
    channel_deviation,
    channel_entropy,
    high_deviation_channels,
    low_entropy_channels,
    take_channels,
)
from specray.spectral.channels import _histograms

BINS = 30
FILLED = torch.arange(BINS, dtype=torch.float32)[None, :, None]  # one value in every bin


def random_features(kind: str, shape: tuple[int, ...] = (2, 700, 40)) -> Tensor:
    rng = np.random.default_rng(0)
    values = {
        "normal": rng.normal(size=shape),
        "heavy": rng.standard_t(3, size=shape),
        "uniform": rng.random(shape),
        "on the edges": rng.integers(0, BINS + 1, shape).astype(float),
        "narrow": 1 + 1e-5 * rng.random(shape),
    }[kind]
    return torch.from_numpy(values.astype(np.float32))


def numpy_counts(features: Tensor) -> NDArray[np.int64]:
    return np.array(
        [[np.histogram(column, BINS)[0] for column in image.T] for image in features.numpy()]
    )


def numpy_entropy(features: Tensor) -> NDArray[np.float64]:
    share = numpy_counts(features) / features.shape[1]
    logarithm = np.log2(share, where=share > 0, out=np.zeros_like(share))
    entropy: NDArray[np.float64] = -(share * logarithm).sum(-1)
    return entropy


@pytest.mark.parametrize("kind", ["normal", "heavy", "uniform", "on the edges", "narrow"])
def test_counts_are_those_of_numpy(kind: str) -> None:
    features = random_features(kind)
    assert np.array_equal(_histograms(features, BINS).numpy(), numpy_counts(features))


def test_counts_of_real_features_are_those_of_numpy(real_keys: Tensor) -> None:
    unit = torch.nn.functional.normalize(real_keys, dim=-1)
    for features in (real_keys[None], unit[None]):
        assert np.array_equal(_histograms(features, BINS).numpy(), numpy_counts(features))


@settings(deadline=None, max_examples=60)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=40),
)
def test_counts_of_any_numbers_are_those_of_numpy(values: list[float]) -> None:
    features = torch.tensor(values)[None, :, None]
    try:
        expected = numpy_counts(features)
    except ValueError:  # NumPy has no bins for a range of so few floats; each patch still counts
        assert _histograms(features, BINS).sum() == len(values)
    else:
        assert np.array_equal(_histograms(features, BINS).numpy(), expected)


@pytest.mark.parametrize("kind", ["normal", "heavy", "uniform"])
def test_entropy_is_that_of_numpys_histogram_in_bits(kind: str) -> None:
    features = random_features(kind)
    assert np.allclose(channel_entropy(features), numpy_entropy(features), rtol=0, atol=1e-12)


def test_thirty_values_one_per_bin_have_log2_30_bits() -> None:
    assert channel_entropy(FILLED).item() == pytest.approx(4.906891, abs=1e-6)
    # in the units of the released code, whose shares add up to 1 / C
    published = (math.log2(BINS) + math.log2(384)) / 384
    assert published == pytest.approx(0.035135, abs=1e-6)


def test_a_constant_channel_has_no_entropy_or_comes_last() -> None:
    constant = torch.full_like(FILLED, 3.0)
    assert channel_entropy(constant).item() == 0
    assert channel_entropy(constant, empty_bins="last").item() == math.inf
    assert channel_entropy(torch.full_like(FILLED, 1e30)).item() == 0  # where 0.5 is rounded away


def test_one_empty_bin_makes_entropy_infinite_only_under_last() -> None:
    gap = FILLED.clone()
    gap[0, 7] = 6.0
    assert channel_entropy(gap, empty_bins="last").item() == math.inf
    assert channel_entropy(gap).item() < math.log2(BINS)
    assert channel_entropy(FILLED, empty_bins="last").item() == pytest.approx(math.log2(BINS))


@pytest.mark.parametrize("scale", [0.25, 8.0])
def test_scaling_channels_and_permuting_patches_keep_the_entropy(scale: float) -> None:
    features = random_features("normal")
    order = torch.randperm(features.shape[1], generator=torch.Generator().manual_seed(0))
    expected = channel_entropy(features)
    assert torch.equal(channel_entropy(features * scale), expected)
    assert torch.equal(channel_entropy(features[:, order]), expected)


def test_the_published_order_is_that_of_the_true_entropy() -> None:
    features = random_features("normal", (1, 700, 384))
    counts = numpy_counts(features)[0]
    for smooth in (0.0, 1e-6):
        share = (counts + smooth) / (700 * 384)
        logarithm = np.log2(share, where=share > 0, out=np.zeros_like(share))
        published = -(share * logarithm).sum(-1)
        expected = np.argsort(published, kind="stable")[:128]
        assert np.array_equal(low_entropy_channels(features, 128, "peaked")[0], expected)


def test_filled_puts_channels_with_an_empty_bin_last_and_peaked_first() -> None:
    flat = torch.linspace(-1, 1, 900)
    spike = torch.where(torch.arange(900) == 450, 1.0, 0.01 * flat)
    rest = torch.sqrt(2.5 - flat**2 - spike**2)  # rows of one length: normalising scales them all
    features = torch.stack([flat, spike, rest], dim=-1)[None]
    assert low_entropy_channels(features, 1, "peaked").tolist() == [[1]]
    assert low_entropy_channels(features, 3, "filled")[0, -1] == 1


def test_filled_sees_rows_of_unit_length_and_peaked_the_features() -> None:
    features = random_features("normal")
    lengths = torch.rand(2, 700, 1, generator=torch.Generator().manual_seed(0)) + 0.1
    filled, peaked = (low_entropy_channels(features, 13, rule) for rule in ("filled", "peaked"))
    assert torch.equal(low_entropy_channels(features * lengths, 13, "filled"), filled)
    assert not torch.equal(low_entropy_channels(features * lengths, 13, "peaked"), peaked)


@pytest.mark.parametrize(("share", "kept"), [(3, 128), (5, 76)])
def test_a_share_of_the_channels_is_kept_by_ascending_entropy(share: int, kept: int) -> None:
    features = random_features("normal", (2, 200, 384))
    channels = low_entropy_channels(features, 384 // share, "peaked")
    assert channels.shape == (2, kept)
    entropy = channel_entropy(features)
    chosen = entropy.gather(1, channels)
    assert (chosen.diff() >= 0).all()
    assert torch.equal(chosen, entropy.sort(dim=1).values[:, :kept])


def test_of_equal_channels_the_first_comes_first() -> None:
    same = random_features("normal")[:, :, :1].expand(-1, -1, 6)
    for rule in ("filled", "peaked"):
        assert low_entropy_channels(same, 4, rule).tolist() == [[0, 1, 2, 3]] * 2
    assert high_deviation_channels(same, 4).tolist() == [[0, 1, 2, 3]] * 2


def test_an_image_has_the_same_channels_alone_and_in_a_batch() -> None:
    features = random_features("heavy")
    for rule in ("filled", "peaked"):
        together = low_entropy_channels(features, 9, rule)
        assert torch.equal(low_entropy_channels(features[1:], 9, rule), together[1:])
    assert torch.equal(
        high_deviation_channels(features[1:], 9), high_deviation_channels(features, 9)[1:]
    )


def test_the_deviation_of_one_to_four_is_that_of_a_sample() -> None:
    values = torch.tensor([1.0, 2, 3, 4])[None, :, None]
    assert channel_deviation(values).item() == pytest.approx(1.29099, abs=1e-5)


def test_deviations_are_those_of_numpy_over_all_or_the_masked_patches() -> None:
    features = random_features("heavy")
    mask = torch.rand(2, 700, generator=torch.Generator().manual_seed(0)) < 0.3
    everything = features.double().numpy()
    assert np.allclose(channel_deviation(features), everything.std(1, ddof=1), rtol=1e-12)
    for deviation, image, kept in zip(
        channel_deviation(features, mask), everything, mask.numpy(), strict=True
    ):
        assert np.allclose(deviation, image[kept].std(0, ddof=1), rtol=1e-12)


def test_fewer_than_two_patches_deviate_by_nothing() -> None:
    features = random_features("normal")
    mask = torch.zeros(2, 700, dtype=torch.bool)
    mask[1, 5] = True
    assert torch.equal(channel_deviation(features, mask), torch.zeros(2, 40, dtype=torch.float64))


def test_a_channel_ten_times_larger_comes_first() -> None:
    features = random_features("normal")
    features[..., 11] *= 10
    assert high_deviation_channels(features, 5)[:, 0].tolist() == [11, 11]


def test_the_chosen_channels_are_taken_in_the_order_of_the_choice() -> None:
    features = random_features("normal")
    channels = torch.tensor([[3, 0], [39, 3]])
    taken = take_channels(features, channels)
    for image, chosen, found in zip(features, channels, taken, strict=True):
        assert torch.equal(found, image[:, chosen])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features = random_features("normal")
    features[1, 3, 5] = bad
    with pytest.raises(ValueError, match="finite"):
        channel_entropy(features)


@pytest.mark.parametrize("keep", [0, 41])
def test_channels_that_are_not_there_are_refused(keep: int) -> None:
    features = random_features("normal")
    with pytest.raises(ValueError, match="of 40 channels"):
        low_entropy_channels(features, keep, "peaked")
    with pytest.raises(ValueError, match="of 40 channels"):
        high_deviation_channels(features, keep)
