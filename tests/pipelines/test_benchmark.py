"""The yardsticks themselves: what they time, compare and score."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from specray.backbones import DescriptorBackbone
from specray.errors import UserError
from specray.masks import PrincipalConfig, principal_masks
from specray.pipelines.benchmark import BenchmarkConfig, run_benchmark
from specray.pipelines.benchmark.accuracy import accuracy_rows
from specray.pipelines.benchmark.job import describe
from specray.pipelines.benchmark.proposals import proposal_rows, published_loop
from specray.pipelines.benchmark.reference import exact_eigenpairs, reference_eigenpairs
from specray.pipelines.benchmark.refinement import refinement_rows
from specray.pipelines.benchmark.solver import mask_agreement, solver_rows
from specray.pipelines.benchmark.timing import alternate
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import prepare
from specray.sources import decode
from specray.spectral import cosine_affinity
from tests.pipelines.photographs import encode, photograph


def features(batch: int = 2, patches: int = 120) -> torch.Tensor:
    """Two groups of patches and noise."""
    generator = torch.Generator().manual_seed(0)
    group = (torch.arange(patches) < patches // 3).float()[None, :, None]
    centres = torch.randn(batch, 2, 1, 16, generator=generator)
    noise = torch.randn(batch, patches, 16, generator=generator)
    common = torch.randn(batch, 1, 16, generator=generator)  # or the groups might not touch
    return group * centres[:, 0] + (1 - group) * centres[:, 1] + common + 0.3 * noise


def test_both_sides_are_timed_in_turns_and_the_ratio_is_how_much_faster_the_first_is() -> None:
    calls: list[str] = []
    comparison = alternate(lambda: calls.append("a"), lambda: calls.append("b"), repeats=2)
    assert "".join(calls) == "aabbaabb"
    expected = comparison.reference_median_s / comparison.candidate_median_s
    assert comparison.ratio == pytest.approx(expected)


def test_the_reference_solves_the_problem_that_lapack_solves() -> None:
    affinity = cosine_affinity(features())[0].numpy()
    values, _ = reference_eigenpairs(affinity, 5)
    np.testing.assert_allclose(values, exact_eigenpairs(affinity, 5)[0], atol=1e-5)


def test_the_solver_agrees_with_lapack_on_its_own_benchmark() -> None:
    agreement = mask_agreement([features(), features(patches=90)])
    assert (agreement.images, agreement.min_iou, agreement.fallback_rate) == (4, 1.0, 0.0)
    assert agreement.max_value_error < 1e-5


def test_solver_rows_say_what_was_compared() -> None:
    rows = solver_rows(features(), repeats=1)
    assert [row["name"] for row in rows] == ["affinity + eigenvectors", "eigenvectors"]
    assert all(row["images"] == 2 and row["patches"] == 120 for row in rows)
    assert "ratio" in describe({"part": "solver", **rows[0]})


def test_refinement_rows_compare_with_pydensecrf_and_with_the_forward_pass(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(encode(photograph(), "JPEG"))
    rows = list(refinement_rows(path, DescriptorBackbone(), repeats=1))
    assert [str(row["name"]).rpartition(", ")[2] for row in rows] == [
        *["to pydensecrf"] * 3,
        *["to forward"] * 4,
    ]
    assert all(isinstance(row["ratio"], float) and row["ratio"] > 0 for row in rows)


@pytest.mark.parametrize(("shift", "corloc"), [(0, 100.0), (1000, 0.0)])
def test_a_true_box_is_a_hit_and_another_is_none(tmp_path: Path, shift: int, corloc: float) -> None:
    for name in ("images", "annotations"):
        (tmp_path / "kangaroo" / name).mkdir(parents=True)
    data = encode(photograph(), "JPEG")
    (tmp_path / "kangaroo" / "images" / "1.jpg").write_bytes(data)
    config = SegmentConfig("", "", methods=("objects",))
    engine = Engine(config, DescriptorBackbone(), "cpu")
    (row,) = engine([prepare("1", decode(data, max_pixels=10**6))])
    x, y, width, height = row["segments"][0]["bbox"]
    sides = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
    box = "".join(f"<{side}>{value + shift}</{side}>" for side, value in sides.items())
    annotation = f"<annotation><object><bndbox>{box}</bndbox></object></annotation>"
    (tmp_path / "kangaroo" / "annotations" / "1.xml").write_text(annotation)
    scores = {
        score.refine: score
        for score in accuracy_rows(tmp_path, config, DescriptorBackbone())
        if score.metric == "CorLoc"
    }
    assert scores.keys() == {"none", "fast", "crf"}
    assert dataclasses.astuple(scores["fast"])[:5] == ("kangaroo", "CorLoc", "fast", 1, corloc)


def test_an_unknown_part_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not speed"):
        run_benchmark(BenchmarkConfig(output=str(tmp_path), parts=("speed",)))


def test_proposal_rows_compare_with_the_published_loop_and_the_exact_crf(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(encode(photograph(), "JPEG"))
    loop, crf = proposal_rows([path, path], DescriptorBackbone(), repeats=1)
    assert loop["images"] == crf["images"] == 2
    assert isinstance(loop["masks_per_image"], float)
    assert loop["masks_per_image"] >= 1
    assert isinstance(crf["pixel_agreement"], float)
    assert crf["pixel_agreement"] > 0.9


def test_the_published_loop_makes_the_same_proposals() -> None:
    image = features(1)
    found = principal_masks(image, PrincipalConfig())
    assert torch.equal(published_loop(image[0], 0.4), found.labels[0])
