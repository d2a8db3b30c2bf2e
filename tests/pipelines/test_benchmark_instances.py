"""The benchmark of instances: its yardsticks, its rows, and what it must show on real images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from sklearn.metrics import adjusted_rand_score

from specray.backbones import BackboneConfig, DescriptorBackbone, build_backbone
from specray.evaluation import TrueInstance
from specray.masks import EmbeddingConfig, ImageGeometry, spectral_instances, to_image
from specray.pipelines.benchmark import BenchmarkConfig, run_benchmark
from specray.pipelines.benchmark.instances.cases import Case, read_cases
from specray.pipelines.benchmark.instances.ladder import (
    COORDINATES,
    REFERENCE_BACKBONE,
    RUNGS,
    ladder_rows,
)
from specray.pipelines.benchmark.instances.reference import reference_boc, reference_instances
from specray.pipelines.benchmark.instances.separation import job_rows, methods, separation_rows
from specray.pipelines.benchmark.instances.stage import kernel_rows, stage_rows
from specray.pipelines.benchmark.timing import one_thread
from specray.pipelines.config import SegmentConfig
from specray.spectral import Background, pairwise_affinity
from tests.pipelines.photographs import HEIGHT, WIDTH, encode, photograph

PATCH = DescriptorBackbone.patch_size
JOB = SegmentConfig("", "", methods=("instances",))


def write_coco_tiny(root: Path) -> None:
    """Two photographs a split, with two instances and a crowd each."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[16:64, 16:64], ids[32:80, 80:112], ids[:16] = 1, 2, 255
    for split in ("train2017", "val2017"):
        for name in (split, f"instances_{split}", "annotations"):
            (root / name).mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for i in range(2):
            (root / split / f"{i}.jpg").write_bytes(encode(photograph(i), "JPEG"))
            Image.fromarray(ids).save(root / f"instances_{split}" / f"{i}.png")
            images.append({"id": i, "file_name": f"{i}.jpg"})
            annotations += [annotation(i, ids == value, value == 255) for value in (1, 2, 255)]
        tree = {"images": images, "annotations": annotations}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(tree))


def annotation(image: int, mask: np.ndarray, crowd: bool) -> dict[str, object]:
    """As COCO publishes it: crowds as run lengths, others as polygons."""
    area = int(mask.sum())
    if crowd:
        changes = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False))
        counts = np.diff(changes, prepend=0, append=mask.size).tolist()
        segmentation: object = {"size": list(mask.shape), "counts": counts}
    else:
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        top, left, bottom, right = (
            int(end) for end in (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        )
        segmentation = [[left, top, right, top, right, bottom, left, bottom]]
    return {"image_id": image, "segmentation": segmentation, "area": area, "iscrowd": int(crowd)}


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    write_coco_tiny(tmp_path)
    return list(read_cases(tmp_path, "val2017", JOB, DescriptorBackbone()))


def test_crowds_are_background_of_the_ids_and_crowds_of_the_annotations(cases: list[Case]) -> None:
    for case in cases:
        assert np.unique(case.ids).tolist() == [0, 1, 2] and case.count == 2
        assert [each["iscrowd"] for each in case.annotations] == [0, 0, 1]
        found = [coco_mask.area(each["rle"]) for each in case.annotations]
        assert found == [48 * 48, 48 * 32, 16 * WIDTH]


def test_an_image_goes_through_the_backbone_once(tmp_path: Path) -> None:
    class Counting(DescriptorBackbone):
        calls = 0

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().__call__(images)

    write_coco_tiny(tmp_path)
    backbone = Counting()
    cases = list(read_cases(tmp_path, "val2017", JOB, backbone))
    list(ladder_rows("val2017", cases, backbone.name))
    list(separation_rows("val2017", cases, PATCH))
    list(job_rows("val2017", cases, JOB, PATCH))
    assert backbone.calls == len(cases) == 2


def test_every_rung_stands_beside_coordinates(cases: list[Case]) -> None:
    rows = {row["name"]: row for row in ladder_rows("val2017", cases, "descriptor")}
    both = [f"val2017 ladder, {name}{full}" for full in ("", ", full") for name in RUNGS]
    names = [f"val2017 foreground F1, {name}" for name in ("all channels", "NCR")]
    assert list(rows) == [*names, *both, "val2017 ladder, coordinates"]
    coordinates = rows["val2017 ladder, coordinates"]["miou"]
    assert all(rows[name]["coordinates"] == coordinates for name in both)


@pytest.mark.parametrize(
    ("split", "backbone", "known"),
    [
        ("val2017", REFERENCE_BACKBONE, True),
        ("train2017", REFERENCE_BACKBONE, False),
        ("val2017", "descriptor", False),
    ],
)
def test_figures_of_the_reference_stand_beside_those_of_its_backbone_and_images_alone(
    cases: list[Case], split: str, backbone: str, known: bool
) -> None:
    rows = list(ladder_rows(split, cases, backbone))
    assert all(("reference" in row) is known for row in rows)


def test_fewer_foreground_patches_than_instances_are_a_failure_that_scores_0(
    cases: list[Case],
) -> None:
    nothing = [dataclasses.replace(case, foreground=case.foreground & False) for case in cases]
    *_, row = ladder_rows("val2017", nothing, "descriptor")
    assert (row["miou"], row["failures"], row["images"]) == (0, 2, 2)


def test_what_a_method_finds_scores_100_if_it_is_the_truth(cases: list[Case]) -> None:
    perfect = [with_truth_of_tree(case) for case in cases]
    found = [*separation_rows("val2017", perfect, PATCH), *job_rows("val2017", perfect, JOB, PATCH)]
    rows = {row["name"]: row for row in found}
    jobs = [f"job, refine {refine}" for refine in ("none", "fast", "crf")]
    assert list(rows) == [f"val2017 {name}" for name in (*methods(), *jobs)]
    for name in ("tree", "tree, K given"):
        row = rows[f"val2017 {name}"]
        assert row["patch_miou"] == row["miou"] == row["ap"] == row["ap50"] == pytest.approx(100)
    assert all("patch_miou" not in rows[f"val2017 {name}"] for name in jobs)
    assert rows["val2017 spectral, K given"]["ap"] < 100


def with_truth_of_tree(case: Case) -> Case:
    """The case as if its truth were the instances of the tree."""
    labels = methods()["tree"](case).labels
    assert labels.any()
    ids = to_image(labels, ImageGeometry(HEIGHT, WIDTH, HEIGHT, WIDTH, PATCH, *case.grid))
    masks = ids[..., None] == np.arange(1, ids.max() + 1)
    rles = coco_mask.encode(np.asfortranarray(masks, np.uint8))
    truth: list[TrueInstance] = [
        {"rle": rle, "area": float(coco_mask.area(rle)), "iscrowd": 0} for rle in rles
    ]
    return dataclasses.replace(case, ids=ids.astype(np.uint8), patch_ids=labels, annotations=truth)


def test_the_reference_compares_patches_as_ours_does() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(80, 12, generator=generator), dim=-1)
    rows[50:] = 0
    ours = pairwise_affinity(rows[None], "boc")[0].numpy()
    np.testing.assert_allclose(ours, reference_boc(rows.numpy()), atol=1e-6)


@pytest.mark.parametrize("background", ["merged", "full"])
@pytest.mark.parametrize("seed", [2, 4, 5])
def test_the_reference_finds_the_instances_that_ours_finds(
    background: Background, seed: int
) -> None:
    # Five objects, for the five eigenvectors: none is left to the background, whose are arbitrary.
    grid, channels, kept = (22, 32), 96, 24
    what = torch.zeros(grid, dtype=torch.long)
    what[2:8, 2:9], what[2:8, 12:19], what[2:8, 22:30] = 1, 2, 3
    what[13:20, 4:13], what[13:20, 18:28] = 4, 5
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(6, channels, generator=generator)
    centres[1:] += torch.randn(channels, generator=generator)  # what is common to objects
    noise = 0.5 * torch.randn(what.numel(), channels, generator=generator)
    features = centres[what.flatten()] + noise
    with one_thread():
        theirs = reference_instances(features, grid, 5, kept)
    config = EmbeddingConfig(deviation_share=kept / channels, background=background)
    ours = spectral_instances(features, grid, 5, 0, config).labels
    assert theirs.max() == 5
    assert adjusted_rand_score(theirs.ravel(), ours.ravel()) == 1  # but for their names


def test_stage_rows_compare_with_cdist_and_with_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(encode(photograph(), "JPEG"))
    rows = list(kernel_rows([50], repeats=1))
    rows += stage_rows([path], DescriptorBackbone(), [(192, 128)], repeats=1)
    assert [(row["name"], row["patches"]) for row in rows] == [
        ("BoC, to cdist", 50),
        ("spectral, to reference", 96),
        ("tree, to reference", 96),
    ]
    assert all(row["ratio"] > 0 for row in rows)


def test_the_part_writes_what_it_scores_on_both_splits(tmp_path: Path) -> None:
    write_coco_tiny(tmp_path / "data" / "coco_tiny")
    config = BenchmarkConfig(
        output=str(tmp_path / "out"), data=str(tmp_path / "data"), parts=("instances",)
    )
    run_benchmark(config)
    written = json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]
    splits = [row["name"].split()[0] for row in written]
    assert splits == sorted(splits, reverse=True) and set(splits) == {"train2017", "val2017"}


@pytest.mark.slow
def test_real_images_give_the_figures_of_the_reference_and_more_with_the_tree(
    assets: Path, vit_tiny: Path
) -> None:
    config = BackboneConfig(backbone=REFERENCE_BACKBONE, weights=str(vit_tiny))
    backbone = build_backbone(config, vit_tiny.read_bytes(), vit_tiny.name, "cpu")
    root = assets / "data" / "coco_tiny"
    with one_thread():
        cases = list(read_cases(root, "val2017", JOB, backbone))
        rungs = ladder_rows("val2017", cases, backbone.name, ["merged"])
        ladder = {row["name"]: row for row in rungs}
        scores = list(separation_rows("val2017", cases, backbone.patch_size))
    published = {name: reference for name, (_, reference) in RUNGS.items()}
    for name, reference in (published | {"coordinates": COORDINATES}).items():
        assert ladder[f"val2017 ladder, {name}"]["miou"] >= reference.three_seeds - 0.5, name
    rows = {row["name"]: row for row in scores}
    for name in methods().keys() - {"tree", "tree, K given"}:
        for tree in ("tree", "tree, K given"):
            for metric in ("patch_miou", "miou"):
                assert rows[f"val2017 {tree}"][metric] > rows[f"val2017 {name}"][metric], name
