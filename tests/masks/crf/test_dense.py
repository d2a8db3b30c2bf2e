"""The dense CRF: what its marginals are, whichever code computes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from specray.masks.crf import DSM_CRF, PRIMAPS_CRF, CRFParameters, dense_crf, label_energies
from tests.masks.crf.cases import (
    brute_force_marginals,
    noise,
    one_nat_energies,
    photographs,
    pydensecrf_marginals,
    random_energies,
    shrunk,
    sure_energies,
)

Backend = Literal["compiled", "torch"]
Unary = Callable[[Tensor, int, int], Tensor]

each_backend = pytest.mark.parametrize("backend", ["compiled", "torch"])
each_setting = pytest.mark.parametrize("parameters", [DSM_CRF, PRIMAPS_CRF], ids=["DSM", "PriMaPs"])


def random_unary(image: Tensor, labels: int, tile: int) -> Tensor:
    return random_energies(1, labels, *image.shape[:2])[0]


def assert_same_marginals(found: Tensor, expected: Tensor) -> None:
    """Of images (B, L, H, W), as the specification wants them (golden check 9)."""
    assert (found - expected).abs().max() < 1e-3
    assert (found.argmax(1) == expected.argmax(1)).double().mean() >= 0.9999


@each_backend
@each_setting
@pytest.mark.parametrize("labels", [2, 3, 9, 27])
@pytest.mark.parametrize("unary", [sure_energies, one_nat_energies, random_unary])
def test_marginals_of_photographs_are_those_of_pydensecrf(
    unary: Unary, labels: int, parameters: CRFParameters, backend: Backend
) -> None:
    images = photographs()
    energies = torch.stack([unary(image, labels, 8) for image in images])
    pairs = zip(images, energies, strict=True)
    expected = torch.stack([pydensecrf_marginals(*pair, parameters) for pair in pairs])
    found = dense_crf(images, energies, parameters, backend=backend)
    assert_same_marginals(found, expected)


@each_backend
@each_setting
@pytest.mark.parametrize("labels", [2, 3, 9, 27])
def test_marginals_of_random_images_are_those_of_pydensecrf(
    labels: int, parameters: CRFParameters, backend: Backend
) -> None:
    # The number of pixels is a multiple of four: pydensecrf fills it up with black pixels at the
    # origin, whose points relay values between true pixels where those are few and far between.
    images = noise(2, 44, 60)
    energies = torch.stack([sure_energies(image, labels, 6) for image in images])
    pairs = zip(images, energies, strict=True)
    expected = torch.stack([pydensecrf_marginals(*pair, parameters) for pair in pairs])
    found = dense_crf(images, energies, parameters, backend=backend)
    assert_same_marginals(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "count"), [("compiled", 60), ("torch", 8)])
def test_marginals_of_real_images_are_those_of_pydensecrf(
    assets: Path, backend: Backend, count: int
) -> None:
    folders = ("davis2016_val/images/*", "kangaroo/images", "coco_tiny/val2017", "camvid/*/images")
    found = [sorted((assets / "data").glob(f"{folder}/*")) for folder in folders]
    each = count // len(folders)
    paths = [path for files in found for path in files[:: len(files) // each][:each]]
    assert len(paths) == count
    for i, path in enumerate(paths):
        image, labels = shrunk(path, 240), [2, 3, 5, 9, 14, 21, 27][i % 7]
        parameters = [DSM_CRF, PRIMAPS_CRF][i % 2]
        energies = [sure_energies, one_nat_energies][i // 2 % 2](image, labels, 16)
        expected = pydensecrf_marginals(image, energies, parameters)
        marginals = dense_crf(image[None], energies[None], parameters, backend=backend)
        assert_same_marginals(marginals, expected[None])


@each_backend
@each_setting
def test_marginals_are_near_those_of_all_pairs_of_pixels(
    parameters: CRFParameters, backend: Backend
) -> None:
    # The lattice approximates the Gaussians, and where two labels are about as good the
    # iterations amplify it: single pixels may well end up with another label.
    images = photographs()[:, 20:36, 30:46]
    for labels in (2, 5):
        energies = torch.stack([sure_energies(image, labels, 4) for image in images])
        pairs = zip(images, energies, strict=True)
        exact = torch.stack([brute_force_marginals(*pair, parameters) for pair in pairs])
        found = dense_crf(images, energies, parameters, backend=backend)
        assert (found - exact).abs().mean() < 0.02
        assert (found.argmax(1) == exact.argmax(1)).double().mean() > 0.97


@each_backend
def test_without_kernels_the_cheapest_label_wins(backend: Backend) -> None:
    energies = random_energies(2, 5, 20, 30)
    free = replace(DSM_CRF, bilateral_weight=0, gaussian_weight=0)
    found = dense_crf(noise(2, 20, 30), energies, free, backend=backend)
    torch.testing.assert_close(found, (-energies).softmax(1))
    assert torch.equal(found.argmax(1), energies.argmin(1))


@each_backend
def test_without_iterations_marginals_are_the_softmax_of_the_energies(backend: Backend) -> None:
    energies = random_energies(2, 5, 20, 30)
    still = replace(DSM_CRF, crf_iterations=0)
    found = dense_crf(noise(2, 20, 30), energies, still, backend=backend)
    torch.testing.assert_close(found, (-energies).softmax(1))


@each_backend
@each_setting
def test_marginals_are_probabilities(parameters: CRFParameters, backend: Backend) -> None:
    found = dense_crf(photographs(), random_energies(3, 6, 60, 80), parameters, backend=backend)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(3, 60, 80))


@each_backend
@each_setting
def test_labels_have_no_order(parameters: CRFParameters, backend: Backend) -> None:
    images, energies = photographs(), random_energies(3, 4, 60, 80)
    order = [3, 1, 0, 2]
    found = dense_crf(images, energies, parameters, backend=backend)
    reordered = dense_crf(images, energies[:, order], parameters, backend=backend)
    torch.testing.assert_close(reordered, found[:, order], atol=1e-3, rtol=0)


@each_backend
@each_setting
def test_channels_have_no_order(parameters: CRFParameters, backend: Backend) -> None:
    images = photographs()
    energies = torch.stack([sure_energies(image, 3, 8) for image in images])
    found = dense_crf(images, energies, parameters, backend=backend)
    reordered = dense_crf(images.flip(3), energies, parameters, backend=backend)
    # the lattice lies differently in the space of colours
    assert (reordered.argmax(1) == found.argmax(1)).double().mean() > 0.98


@each_backend
@each_setting
def test_one_label_on_a_uniform_image_stays(parameters: CRFParameters, backend: Backend) -> None:
    images = torch.full((1, 24, 40, 3), 90, dtype=torch.uint8)
    energies = label_energies(torch.full((1, 24, 40), 2), 4)
    found = dense_crf(images, energies, parameters, backend=backend)
    assert (found.argmax(1) == 2).all()
    assert (found[:, 2] > 0.99).all()


@each_backend
def test_labels_follow_the_border_of_the_image(backend: Backend) -> None:
    image = torch.zeros(1, 32, 48, 3, dtype=torch.uint8)
    image[:, :, 20:] = 255
    guess = torch.zeros(1, 32, 48, dtype=torch.int64)
    guess[:, :, 17:] = 1
    found = dense_crf(image, label_energies(guess, 2), backend=backend)
    assert torch.equal(found.argmax(1)[0, 0], (torch.arange(48) >= 20).long())


def test_energies_are_those_of_a_map_clipped_at_one_percent() -> None:
    found = label_energies(torch.tensor([[[0, 2]]]), 3)
    expected = torch.tensor([[0.01005, 4.60517], [4.60517, 4.60517], [4.60517, 0.01005]])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected[None, :, None], atol=1e-5, rtol=0)


@each_backend
@each_setting
def test_padding_gets_nothing_and_changes_nothing(
    parameters: CRFParameters, backend: Backend
) -> None:
    images, counts = photographs(), torch.tensor([2, 5, 3])
    energies = torch.stack([one_nat_energies(image, 5, 8) for image in images])
    found = dense_crf(images, energies, parameters, label_counts=counts, backend=backend)
    for i, count in enumerate(counts):
        one = slice(i, i + 1)
        alone = dense_crf(images[one], energies[one, :count], parameters, backend=backend)
        assert (found[i, count:] == 0).all()
        torch.testing.assert_close(found[one, :count], alone, atol=1e-3, rtol=0)


@each_backend
def test_padding_gets_nothing_however_large_the_energies_are(backend: Backend) -> None:
    energies = random_energies(3, 3, 60, 80) + 2e4
    counts = torch.tensor([2, 2, 2])
    found = dense_crf(photographs(), energies, label_counts=counts, backend=backend)
    assert (found[:, 2] == 0).all()


@each_backend
def test_marginals_are_constants_that_a_loss_may_use(backend: Backend) -> None:
    energies = random_energies(1, 3, 8, 9).requires_grad_()
    found = dense_crf(photographs()[:1, :8, :9], energies, backend=backend)
    assert not found.requires_grad
    weight = torch.ones(1, requires_grad=True)
    (weight * found).sum().backward()
    assert weight.grad is not None


@each_backend
@each_setting
@pytest.mark.parametrize("labels", [2, 3, 9, 27])
def test_marginals_are_the_same_alone_and_in_a_batch(
    labels: int, parameters: CRFParameters, backend: Backend
) -> None:
    images = photographs()[:, :47, :61]
    energies = torch.stack([one_nat_energies(image, labels, 8) for image in images])
    together = dense_crf(images, energies, parameters, backend=backend)
    for i in range(3):
        one = slice(i, i + 1)
        alone = dense_crf(images[one], energies[one], parameters, backend=backend)
        assert torch.equal(alone, together[one])


@each_backend
@pytest.mark.parametrize("threads", [1, 2])
def test_marginals_are_the_same_again(threads: int, backend: Backend) -> None:
    images, energies = photographs(), random_energies(3, 4, 60, 80)
    first = dense_crf(images, energies, backend=backend)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(dense_crf(images, energies, backend=backend), first)
    finally:
        torch.set_num_threads(before)


@each_backend
def test_arguments_are_left_alone(backend: Backend) -> None:
    images, energies = photographs(), random_energies(3, 4, 60, 80)
    before = images.clone(), energies.clone()
    dense_crf(images, energies, label_counts=torch.tensor([4, 2, 1]), backend=backend)
    assert torch.equal(images, before[0])
    assert torch.equal(energies, before[1])


@each_backend
def test_strides_make_no_difference(backend: Backend) -> None:
    images = photographs()
    energies = random_energies(3, 4, 60, 80)
    strided = energies.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
    turned = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    expected = dense_crf(images, energies, backend=backend)
    assert torch.equal(dense_crf(turned, strided, backend=backend), expected)


@settings(max_examples=60, deadline=None)
@given(
    backend=st.sampled_from(["compiled", "torch"]),
    shape=st.tuples(st.integers(1, 3), *[st.integers(1, 12) | st.just(1)] * 2),
    labels=st.integers(1, 5),
    parameters=st.builds(
        CRFParameters,
        *[st.integers(0, 10), st.integers(1, 90), st.integers(2, 300)],
        *[st.integers(0, 10), st.integers(1, 90), st.integers(0, 3)],
    ),
    constant=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape_gives_probabilities(
    backend: Backend,
    shape: tuple[int, int, int],
    labels: int,
    parameters: CRFParameters,
    constant: bool,
    seed: int,
) -> None:
    batch, height, width = shape
    images = noise(batch, height, width, seed)
    if constant:
        images[:] = seed
    energies = random_energies(batch, labels, height, width, seed)
    found = dense_crf(images, energies, parameters, backend=backend)
    assert found.dtype == torch.float32
    assert found.shape == energies.shape
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    first = dense_crf(images[:1], energies[:1], parameters, backend=backend)
    assert torch.equal(first, found[:1])


@each_backend
def test_empty_batches_give_empty_marginals(backend: Backend) -> None:
    found = dense_crf(noise(0, 4, 5), torch.zeros(0, 2, 4, 5), backend=backend)
    assert found.shape == (0, 2, 4, 5)


IMAGES, ENERGIES = torch.zeros(2, 4, 5, 3, dtype=torch.uint8), torch.zeros(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("images", "energies", "counts", "message"),
    [
        (IMAGES, ENERGIES[0], None, r"energies must be \(B, L, H, W\) float32"),
        (IMAGES, ENERGIES.double(), None, r"energies must be \(B, L, H, W\) float32"),
        (IMAGES.float(), ENERGIES, None, r"images must be \(2, 4, 5, 3\) uint8"),
        (IMAGES[:1], ENERGIES, None, r"images must be \(2, 4, 5, 3\) uint8"),
        (IMAGES[..., :2], ENERGIES, None, r"images must be \(2, 4, 5, 3\) uint8"),
        (IMAGES.permute(0, 2, 1, 3), ENERGIES, None, r"images must be \(2, 4, 5, 3\) uint8"),
        (IMAGES, ENERGIES[:, :0], None, "at least one label"),
        (IMAGES, ENERGIES / 0, None, "must be finite"),
        (IMAGES, ENERGIES + torch.inf, None, "must be finite"),
        (IMAGES, ENERGIES, torch.tensor([3]), r"label_counts must be \(2,\)"),
        (IMAGES, ENERGIES, torch.tensor([0, 3]), "values from 1 to 3"),
        (IMAGES, ENERGIES, torch.tensor([3, 4]), "values from 1 to 3"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    images: Tensor, energies: Tensor, counts: Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        dense_crf(images, energies, label_counts=counts)
    assert "\n" not in str(error.value)


@each_backend
def test_images_too_large_for_the_deviations_are_refused(backend: Backend) -> None:
    sharp = CRFParameters(bilateral_xy=0.5, bilateral_rgb=0.5)
    images = torch.zeros(1, 1, 200_000, 3, dtype=torch.uint8)
    images[..., ::2, :] = 255
    with pytest.raises(ValueError, match=r"deviations of 0\.5, 0\.5, 0\.5") as error:
        dense_crf(images, torch.zeros(1, 2, 1, 200_000), sharp, backend=backend)
    assert "\n" not in str(error.value)
