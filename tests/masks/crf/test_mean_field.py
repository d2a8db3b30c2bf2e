"""Mean-field inference in torch: what it promises beyond the dense CRF itself."""

from __future__ import annotations

import pytest
import torch

from specray.masks.crf import DSM_CRF, PRIMAPS_CRF, CRFParameters, compiled, mean_field
from tests.masks.crf.cases import one_nat_energies, photographs, random_energies

each_setting = pytest.mark.parametrize("parameters", [DSM_CRF, PRIMAPS_CRF], ids=["DSM", "PriMaPs"])


@each_setting
@pytest.mark.parametrize("labels", [1, 2, 3, 9, 27])
def test_marginals_are_those_of_the_compiled_code(labels: int, parameters: CRFParameters) -> None:
    images = photographs()
    energies = torch.stack([one_nat_energies(image, labels, 8) for image in images])
    found = mean_field.infer(images, energies, parameters)
    expected = compiled.infer(images, energies, parameters)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_nothing_that_may_differ_from_run_to_run_is_called() -> None:
    # Raises where an operation has no deterministic form, on a GPU above all.
    images, energies = photographs(), random_energies(3, 4, 60, 80)
    torch.use_deterministic_algorithms(True)
    try:
        found = mean_field.infer(images, energies, DSM_CRF)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(found, mean_field.infer(images, energies, DSM_CRF))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@each_setting
def test_a_gpu_gives_the_same_marginals_every_time(parameters: CRFParameters) -> None:
    images = photographs()
    energies = torch.stack([one_nat_energies(image, 9, 8) for image in images])
    first = mean_field.infer(images.cuda(), energies.cuda(), parameters)
    assert first.is_cuda
    for _ in range(3):
        again = mean_field.infer(images.cuda(), energies.cuda(), parameters)
        assert torch.equal(again, first)
    expected = mean_field.infer(images, energies, parameters)
    assert (first.cpu() - expected).abs().max() < 1e-3
    alone = mean_field.infer(images[1:2].cuda(), energies[1:2].cuda(), parameters)
    assert (first[1:2] - alone).abs().max() < 1e-3


def test_the_last_label_that_is_never_filtered_is_as_exact_as_the_others() -> None:
    images = photographs()
    energies = torch.stack([one_nat_energies(image, 6, 8) for image in images])
    found = mean_field.infer(images, energies, DSM_CRF)
    turned = mean_field.infer(images, energies.roll(1, 1), DSM_CRF).roll(-1, 1)
    torch.testing.assert_close(found, turned, atol=1e-4, rtol=0)
