"""Connected components, against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import measure

from specray.masks import component_labels
from specray.masks.config import Connectivity


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("seed", range(5))
def test_components_agree_with_skimage(connectivity: Connectivity, seed: int) -> None:
    mask = np.random.default_rng(seed).random((17, 23)) < 0.45
    ours = component_labels(mask, connectivity)
    theirs = measure.label(mask, connectivity=1 if connectivity == 4 else 2)
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)
    assert pairs.shape[1] == ours.max() + 1 == theirs.max() + 1  # one to one


@pytest.mark.parametrize("seed", range(5))
def test_components_are_numbered_by_falling_area_then_by_first_cell(seed: int) -> None:
    labels = component_labels(np.random.default_rng(seed).random((20, 20)) < 0.4)
    present, first, area = np.unique(labels, return_index=True, return_counts=True)
    keys = list(zip(-area[1:], first[1:], strict=True))
    assert list(present) == list(range(len(present)))
    assert keys == sorted(keys)


def test_cells_that_touch_at_a_corner_are_one_component_only_with_eight_neighbours() -> None:
    mask = np.eye(3, dtype=np.bool_)
    assert component_labels(mask, 8).max() == 1
    assert component_labels(mask, 4).max() == 3


def test_nothing_has_no_component() -> None:
    assert not component_labels(np.zeros((3, 4), dtype=np.bool_)).any()
