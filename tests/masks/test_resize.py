"""Label maps at another size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specray.masks.resize import resize_labels


def test_same_size_is_the_same_map() -> None:
    labels = np.arange(12, dtype=np.int32).reshape(3, 4)
    assert resize_labels(labels, 3, 4) is labels


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
def test_label_is_the_one_of_most_bilinear_weight(h: int, w: int, height: int, width: int) -> None:
    labels = np.random.default_rng(h * w).integers(-1, 3, (h, w)).astype(np.int32)
    found = resize_labels(labels, height, width)
    one_hot = torch.from_numpy((labels == np.arange(-1, 3)[:, None, None]).astype(np.float64))
    weights = torch.nn.functional.interpolate(
        one_hot[None], (height, width), mode="bilinear", align_corners=False
    )[0].numpy()
    chosen = np.take_along_axis(weights, (found + 1)[None].astype(np.int64), axis=0)[0]
    np.testing.assert_allclose(chosen, weights.max(axis=0), atol=1e-9)


def test_diagonal_border_is_no_staircase() -> None:
    labels = np.tri(20, dtype=np.int32)
    y, x = np.mgrid[:200, :200]
    found = resize_labels(labels, 200, 200)
    stairs = labels.repeat(10, axis=0).repeat(10, axis=1)
    wrong = [np.mean(m[20:-20, 20:-20] != (x - 5 <= y)[20:-20, 20:-20]) for m in (found, stairs)]
    assert wrong[0] < wrong[1] / 2


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (300, 2)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    assert resize_labels(np.ones((3, 5), np.int32), *size).shape == size
