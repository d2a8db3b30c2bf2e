"""What the CRF of the proposals starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from specray.masks import PRIMAPS_CRF, ImageGeometry, dense_crf
from specray.masks.principal.energies import proposal_energies
from tests.masks.cases import GEOMETRIES, native, random_labels
from tests.masks.principal.cases import published_energies


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_inside_of_a_mask_every_other_label_costs_1_nat_more(count: int) -> None:
    labels = np.full((4, 6), -1)
    labels[:, 3:] = count - 1
    energies = proposal_energies(labels, count, native(64, 96, 16))
    background = energies[:, :, :40]
    mask = energies[:, :, 56:]
    for own, inside in ((0, background), (count, mask)):
        others = np.delete(inside, own, axis=0)
        np.testing.assert_allclose(others - inside[own], 1, atol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 30])
def test_energies_are_the_published_ones_up_to_a_constant_of_each_pixel(count: int) -> None:
    geometry = native(64, 96, 16)
    labels = random_labels(geometry, count)
    ours = torch.from_numpy(proposal_energies(labels, count, geometry))
    difference = published_energies(labels, count, (64, 96)) - ours
    torch.testing.assert_close(difference, difference[:1].expand_as(difference), atol=1e-5, rtol=0)


def test_marginals_are_those_of_the_published_energies() -> None:
    geometry, generator = native(64, 96, 16), torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 64, 96, 3), generator=generator, dtype=torch.uint8)
    labels = random_labels(geometry, 4)
    ours = torch.from_numpy(proposal_energies(labels, 4, geometry))[None]
    theirs = published_energies(labels, 4, (64, 96))[None]
    marginals = [dense_crf(image, energies, PRIMAPS_CRF) for energies in (ours, theirs)]
    torch.testing.assert_close(*marginals, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_best_label_of_a_cell_s_middle_is_its_own(name: str) -> None:
    geometry = GEOMETRIES[name]
    labels = random_labels(geometry, 3)
    energies = proposal_energies(labels, 3, geometry)
    assert energies.shape == (4, geometry.height, geometry.width)
    np.testing.assert_allclose(energies.sum(0), -1, atol=1e-6)
    rows, columns = (
        (np.arange(size) + 0.5) * resized / size / geometry.patch
        for size, resized in (
            (geometry.height, geometry.resized_height),
            (geometry.width, geometry.resized_width),
        )
    )
    y, x = (
        np.flatnonzero((np.abs(at % 1 - 0.5) < 0.2) & (at < cells))
        for at, cells in ((rows, geometry.grid_h), (columns, geometry.grid_w))
    )
    own = labels[rows[y].astype(int)][:, columns[x].astype(int)]
    np.testing.assert_array_equal(energies[:, y][..., x].argmin(0) - 1, own)


def test_what_the_grid_does_not_cover_goes_on_as_the_cells_beside_it() -> None:
    geometry = ImageGeometry(45, 61, 45, 61, 16, 2, 3)
    energies = proposal_energies(random_labels(geometry, 3), 3, geometry)
    np.testing.assert_array_equal(energies[:, 32:], energies[:, 31:32].repeat(13, axis=1))
    np.testing.assert_array_equal(energies[..., 48:], energies[..., 47:48].repeat(13, axis=2))
