"""From the grid to pixels (golden check 20), against brute force and torch's own resize."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from torch.nn import functional

from specray.masks import ImageGeometry, to_image
from tests.masks.cases import geometries, native, random_labels


def test_border_takes_the_nearest_resize_and_the_grid_is_replicated_exactly() -> None:
    grid = np.array([[0, 1], [2, 3]])
    image = to_image(grid, native(40, 40, 16))
    stretched = functional.interpolate(torch.from_numpy(grid)[None, None].double(), (40, 40))
    expected = stretched[0, 0].long().numpy()
    expected[:32, :32] = np.kron(grid, np.ones((16, 16), dtype=np.int64))
    np.testing.assert_array_equal(image, expected)
    assert image[39, 18] == 2 and image[31, 18] == 3  # the two rules do differ here


def test_resized_image_goes_back_by_nearest_neighbour() -> None:
    geometry = ImageGeometry(100, 150, 50, 75, 16, 3, 4)
    labels = random_labels(geometry, 5)
    resized = to_image(labels, native(50, 75, 16))
    np.testing.assert_array_equal(to_image(labels, geometry), np.kron(resized, np.ones((2, 2))))


@given(geometries())
def test_every_pixel_follows_the_rule(geometry: ImageGeometry) -> None:
    g = geometry
    labels = np.arange(g.grid_h * g.grid_w).reshape(g.grid_h, g.grid_w)
    expected = np.empty((g.height, g.width), dtype=np.int64)
    for y, x in np.ndindex(expected.shape):
        row = (2 * y + 1) * g.resized_height // (2 * g.height)
        column = (2 * x + 1) * g.resized_width // (2 * g.width)
        if row < g.grid_h * g.patch and column < g.grid_w * g.patch:
            expected[y, x] = labels[row // g.patch, column // g.patch]
        else:
            cell = row * g.grid_h // g.resized_height, column * g.grid_w // g.resized_width
            expected[y, x] = labels[cell]
    np.testing.assert_array_equal(to_image(labels, g), expected)
