"""The permutohedral lattice in torch: a Gaussian filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from specray.masks.crf.lattice import Lattice, build, convolve
from tests.masks.crf.cases import exact_kernel, noise, photographs, tile_labels

DEVIATIONS = [(80, 80, 13, 13, 13), (67, 67, 3, 3, 3), (8, 8, 20, 20, 20), (3, 3), (1, 1)]


def features(images: Tensor, dimensions: int = 5) -> Tensor:
    """(D, N, B) positions and colours of images (B, H, W, 3)."""
    y, x = np.mgrid[: images.shape[1], : images.shape[2]]
    place = torch.from_numpy(np.stack([x, y])).float().view(2, -1, 1)
    colour = images.permute(3, 1, 2, 0).flatten(1, 2).float()
    return torch.cat([place.expand(-1, -1, len(images)), colour])[:dimensions]


def kernel(lattice: Lattice) -> Tensor:
    """The filter of one image as a matrix (N, N)."""
    return convolve(lattice, torch.eye(len(lattice.vertices)))


@pytest.mark.parametrize("deviations", DEVIATIONS)
def test_filter_is_about_the_normalised_gaussian(deviations: tuple[float, ...]) -> None:
    for image in photographs()[:, 20:36, 30:46]:
        points = features(image[None], len(deviations))
        found = kernel(build(points, deviations))
        exact = exact_kernel(points[..., 0].T.double().numpy() / deviations).float()
        assert (found - exact).norm() < 0.3 * exact.norm()
        values = torch.rand(256, 8, generator=torch.Generator().manual_seed(0))
        assert (found @ values - exact @ values).abs().mean() < 0.025


def test_narrow_filter_of_distances_takes_the_labels_that_the_exact_one_takes() -> None:
    tiles = tile_labels(photographs()[0, :45, :45], 9, 3)
    labels = tiles.repeat_interleave(3, 0).repeat_interleave(3, 1).flatten()
    points = features(torch.zeros(1, 45, 45, 3), 2)
    one_hot = torch.eye(9)[labels]
    found = convolve(build(points, (1, 1)), one_hot)
    exact = exact_kernel(points[..., 0].T.double().numpy()).float() @ one_hot
    assert (found - exact).abs().max() < 0.1
    assert (found.argmax(1) == exact.argmax(1)).double().mean() >= 0.998


@pytest.mark.parametrize("deviations", DEVIATIONS)
def test_filter_of_ones_is_positive(deviations: tuple[float, ...]) -> None:
    for images in (photographs(), noise(3, 60, 80)):
        lattice = build(features(images, len(deviations)), deviations)
        found = convolve(lattice, torch.ones(len(lattice.vertices), 1))
        assert (found > 0).all()


@pytest.mark.parametrize("deviations", DEVIATIONS)
def test_order_of_the_axes_is_all_that_keeps_the_filter_from_being_symmetric(
    deviations: tuple[float, ...],
) -> None:
    lattice = build(features(photographs()[:1, :16, :20], len(deviations)), deviations)
    reverse = lattice._replace(neighbours=lattice.neighbours.flip(0))
    torch.testing.assert_close(kernel(reverse), kernel(lattice).T, atol=1e-6, rtol=1e-4)


def test_colours_that_are_all_alike_leave_a_blur_of_distances() -> None:
    alike = build(features(torch.full((1, 16, 16, 3), 77)), (4, 4, 300, 300, 300))
    found = kernel(alike)
    exact = kernel(build(features(torch.zeros(1, 16, 16, 3), 2), (4, 4)))
    assert (found - exact).norm() < 0.3 * exact.norm()


def test_images_of_a_batch_have_lattices_of_their_own() -> None:
    images = torch.cat([photographs()[:, :24, :24], photographs()[:1, :24, :24]])
    values = torch.rand(576, 4, 3, generator=torch.Generator().manual_seed(0))
    deviations = (80.0, 80.0, 13.0, 13.0, 13.0)
    together = convolve(build(features(images), deviations), values.flatten(0, 1)).view(576, 4, 3)
    for i in range(4):
        alone = build(features(images[i : i + 1]), deviations)
        assert torch.equal(convolve(alone, values[:, i].contiguous()), together[:, i])


def test_channels_are_filtered_one_apart_from_the_other() -> None:
    lattice = build(features(photographs()[:1]), (67, 67, 3, 3, 3))
    values = torch.rand(4800, 13, generator=torch.Generator().manual_seed(0))
    found = convolve(lattice, values)
    for channel in range(13):
        one = slice(channel, channel + 1)
        assert torch.equal(convolve(lattice, values[:, one].contiguous()), found[:, one])


def test_weights_of_a_pixel_are_barycentric() -> None:
    lattice = build(features(photographs()), (80, 80, 13, 13, 13))
    shares = lattice.weights / lattice.weights.sum(1, keepdim=True)
    assert (shares > -1e-5).all()
    ordered = lattice.vertices.sort(1).values
    assert (ordered[:, 1:] > ordered[:, :-1]).all()  # all different
    assert ordered[:, 0].min() == 1
    assert ordered[:, -1].max() == len(lattice.starts) - 1


def test_neighbours_come_in_pairs_and_never_leave_the_image() -> None:
    lattice = build(features(photographs()), (80, 80, 13, 13, 13))
    image = torch.full((len(lattice.starts),), -1)
    image[lattice.vertices] = (torch.arange(len(lattice.vertices)) % 3)[:, None]
    for axis in lattice.neighbours:
        before, after = axis.unbind(1)
        assert before[0] == after[0] == 0
        has = before > 0
        assert has.any()
        assert torch.equal(after[before[has].long()], has.nonzero()[:, 0].int())
        assert torch.equal(image[before[has].long()], image[has])


def test_keys_that_do_not_fit_are_refused() -> None:
    wide = torch.tensor([[[0.0], [2e6]]]).expand(5, 2, 1)
    build(wide / 10000, (1, 1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"too large.* for deviations of 1, 1, 1, 1, 1") as error:
        build(wide, (1, 1, 1, 1, 1))
    assert "\n" not in str(error.value)
