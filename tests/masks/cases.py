"""Geometries and label maps that the tests of this room share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from specray.masks import ImageGeometry


def native(height: int, width: int, patch: int) -> ImageGeometry:
    """An image that was not resized."""
    return ImageGeometry(height, width, height, width, patch, height // patch, width // patch)


GEOMETRIES = {
    "whole patches": native(32, 48, 16),
    "remainder": native(45, 61, 16),
    "remainder below only": native(45, 48, 16),
    "one patch": native(16, 16, 16),
    "smaller cells than patches": ImageGeometry(47, 61, 47, 61, patch=8, grid_h=4, grid_w=6),
    "shrunk before": ImageGeometry(100, 151, 50, 75, 16, 3, 4),
    "enlarged before": ImageGeometry(20, 31, 64, 99, 16, 4, 6),
}


@st.composite
def geometries(draw: st.DrawFn) -> ImageGeometry:
    """Any small image, resized or not, at least one patch a side."""
    patch = draw(st.integers(1, 9))
    resized_h, resized_w = (draw(st.integers(patch, 40)) for _ in range(2))
    height = draw(st.just(resized_h) | st.integers(1, 90))
    width = draw(st.just(resized_w) | st.integers(1, 90))
    grid = resized_h // patch, resized_w // patch
    return ImageGeometry(height, width, resized_h, resized_w, patch, *grid)


def random_labels(geometry: ImageGeometry, labels: int, seed: int = 0) -> NDArray[np.int64]:
    """(grid_h, grid_w) labels in -1..labels-1."""
    grid = geometry.grid_h, geometry.grid_w
    return np.random.default_rng(seed).integers(-1, labels, grid)
