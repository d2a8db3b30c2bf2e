"""Alpha is the matting library's own, found in the band alone; trust pulls it to the mask."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from pymatting import estimate_alpha_cf

from specray.masks import NotConverged, Trimap, closed_form_alpha, trimap
from specray.masks.matting import alpha as module
from specray.masks.matting.alpha import bounding_window
from tests.masks.matting.scenes import Scene, scene

SIZE = (96, 128)


@pytest.fixture(scope="module")
def coffee() -> Scene:
    return scene("coffee", "chelsea", SIZE, hair=True)


def without_trust(known: Trimap) -> Trimap:
    return dataclasses.replace(known, trust=np.zeros_like(known.trust))


def test_without_trust_it_is_the_solution_of_pymatting(coffee: Scene) -> None:
    known, image = trimap(coffee.mask, 6), coffee.image / 255
    found = closed_form_alpha(image, without_trust(known), coffee.mask)
    expected = estimate_alpha_cf(image, known.values)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_alpha_lies_in_0_1_and_keeps_what_is_known(coffee: Scene) -> None:
    known = trimap(coffee.mask, 6)
    found = closed_form_alpha(coffee.image / 255, known, coffee.mask)
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_array_equal(found[~known.unknown], known.values[~known.unknown])


def test_an_image_of_one_colour_follows_the_mask_where_it_is_trusted() -> None:
    mask = np.arange(60)[None].repeat(30, axis=0) < 30
    known = trimap(mask, 10)
    found = closed_form_alpha(np.full((30, 60, 3), 0.5), known, mask)
    assert found[15, 22] > 0.8
    assert found[15, 37] < 0.2


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 40), (40, 2), (3, 3), (4, 5)])
def test_images_too_small_for_a_window_get_an_alpha(size: tuple[int, int]) -> None:
    mask = np.zeros(size, bool)
    mask.flat[: mask.size // 2] = True
    image = np.random.default_rng(0).random((*size, 3))
    found = closed_form_alpha(image, trimap(mask, 1), mask)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_system_that_is_not_solved_is_said_so(
    coffee: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ITERATIONS", 1)
    with pytest.raises(NotConverged, match="did not converge"):
        closed_form_alpha(coffee.image / 255, trimap(coffee.mask, 6), coffee.mask)


def patchwork() -> NDArray[np.float64]:
    """Pure colours, on which the factorisation fails until it is given a shift."""
    colors = np.random.default_rng(0).integers(0, 2, (12, 16, 3)).astype(np.float64)
    return colors.repeat(10, axis=0).repeat(10, axis=1)


def test_the_library_prints_nothing_where_the_result_of_a_job_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = np.arange(160)[None].repeat(120, axis=0) < 80
    known = without_trust(trimap(mask, 26))
    estimate_alpha_cf(patchwork(), known.values)
    assert "WARNING" in capsys.readouterr().out
    closed_form_alpha(patchwork(), known, mask)
    assert capsys.readouterr().out == ""


def test_a_process_of_limited_memory_solves_it_too() -> None:
    script = """
import resource

import numpy as np
import psutil

from specray.masks import closed_form_alpha, trimap

limit = psutil.Process().memory_info().data + 2**30
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
mask = np.arange(64)[None].repeat(48, axis=0) < 32
closed_form_alpha(np.random.default_rng(0).random((48, 64, 3)), trimap(mask, 8), mask)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_window_is_tight_but_for_its_margin_inside_the_image() -> None:
    mask = np.zeros((10, 20), bool)
    assert bounding_window(mask, 2) is None
    mask[1, 5:8] = True
    window = bounding_window(mask, 2)
    assert window is not None
    assert mask[window].shape == (4, 7)
    assert mask[window].sum() == 3
