"""The benchmark job: one table of measured ratios and scores, as JSON and to read."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from threadpoolctl import threadpool_limits

from specray.backbones import (
    Backbone,
    BackboneConfig,
    CropEncoder,
    build_backbone,
    build_class_token,
)
from specray.errors import UserError
from specray.pipelines.benchmark.accuracy import accuracy_rows
from specray.pipelines.benchmark.end_to_end import end_to_end_rows
from specray.pipelines.benchmark.images import photographs, pixels_of, squares_of
from specray.pipelines.benchmark.instances.cases import read_cases
from specray.pipelines.benchmark.instances.ladder import ladder_rows
from specray.pipelines.benchmark.instances.separation import job_rows, separation_rows
from specray.pipelines.benchmark.instances.stage import kernel_rows, stage_rows
from specray.pipelines.benchmark.labels.camvid import class_names, read_split, split_paths
from specray.pipelines.benchmark.labels.describing import describing_rows
from specray.pipelines.benchmark.labels.protocols import DSM, SETTINGS, baseline_row, setting_row
from specray.pipelines.benchmark.labels.scale import scale_rows
from specray.pipelines.benchmark.proposals import proposal_rows
from specray.pipelines.benchmark.prototypes.crops import proposed, read_scored
from specray.pipelines.benchmark.prototypes.epochs import epoch_rows
from specray.pipelines.benchmark.prototypes.protocol import prototype_rows
from specray.pipelines.benchmark.refinement import refinement_rows
from specray.pipelines.benchmark.scale_out import scale_out_rows
from specray.pipelines.benchmark.scores import score_scale_rows
from specray.pipelines.benchmark.solver import mask_agreement, solver_rows
from specray.pipelines.benchmark.timing import one_thread
from specray.pipelines.cluster import cores
from specray.pipelines.config import SegmentConfig
from specray.pipelines.weights import load_weights
from specray.tables.run import package_versions

PATCHES: Final = {480: 7, 960: 3}
"""Image side in pixels to timed repeats: 900 and 3600 patches of 16 pixels."""
BATCH: Final = 8
REFINE_REPEATS: Final = 5
PROPOSAL_IMAGES: Final = 10
PROPOSAL_REPEATS: Final = 5
KERNEL_PATCHES: Final = (900, 3600)
KERNEL_REPEATS: Final = 7
STAGE_SIZES: Final = ((640, 480), (1280, 720))
STAGE_IMAGES: Final = 3
DESCRIBE_REPEATS: Final = 9
SCALE_IMAGES: Final = 1000
SCALE_DIMENSIONS: Final = 384
SCALE_CLASSES: Final = 27
SCALE_FITS: Final = (1_000_000, 10_000)
"""Points that classes are fitted to: all 40,000, or a sample."""
SCORE_IMAGES: Final = 2000
SCORE_WORKERS: Final = (1, 2)
STAGE_REPEATS: Final = 2
"""Few: the reference takes up to ten seconds an image."""
_NOTE: Final = (
    "Scores are those of this backbone and these images, beside those of trivial answers (a box in "
    "the middle of each image; for instances, coordinates and connected components; for classes, "
    "k-means on bare patches); with a supervised backbone they say nothing about the papers' "
    "unsupervised figures."
)


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure specray against the reference calls and a bare backbone loop, side by side.

    Every speed is a ratio of two medians taken in turns in one process. With a root of
    labelled sets, objects, instances and classes are scored too, beside the scores of trivial
    answers: a box in the middle; coordinates, connected components; k-means on bare patches.

    Try: specray benchmark --output bench --backbone descriptor

    Parameters
    ----------
    output
        Folder for benchmark.json and benchmark.txt.
    data
        Root of the labelled sets davis2016_val, kangaroo, coco_tiny, camvid; absent = the
        photographs of scikit-image alone, and no scores.
    backbone
        As in `specray segment`.
    weights
        As in `specray segment`.
    parts
        What to measure.
    threads
        Threads of either side of the solver's comparison; absent = the machine's cores.
    """

    output: str = "bench"
    data: str | None = None
    backbone: str = "descriptor"
    weights: str | None = None
    parts: tuple[str, ...] = (
        "solver",
        "agreement",
        "refinement",
        "proposals",
        "instance-stage",
        "describing",
        "end-to-end",
        "accuracy",
        "instances",
        "labels",
        "label-scale",
        "score-scale",
        "scale-out",
        "prototypes",
    )
    threads: int | None = None


def run_benchmark(config: BenchmarkConfig) -> dict[str, Any]:
    """Measure; see `BenchmarkConfig`.

    Returns
    -------
    dict
        Everything that benchmark.json holds.
    """
    unknown = set(config.parts) - MEASURES.keys()
    if unknown:
        raise UserError(f"--parts knows {', '.join(MEASURES)}, not {', '.join(sorted(unknown))}")
    features = BackboneConfig(backbone=config.backbone, weights=config.weights)
    weights = load_weights(features, None)
    backbone = build_backbone(features, weights.data, weights.source, "cpu")
    threads = config.threads or cores()
    rows = []
    with threadpool_limits(threads):
        torch.set_num_threads(threads)
        for part in config.parts:
            for row in MEASURES[part](config, backbone):
                rows.append({"part": part, **row})
                print(describe(rows[-1]), file=sys.stderr, flush=True)
    result = {
        "job": "benchmark",
        "backbone": config.backbone,
        "weights_sha256": weights.sha256,
        "rows": rows,
        "machine": _machine(threads),
        "output": config.output,
    }
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(result, indent=2))
    table = [describe(row) for row in rows]
    if {"accuracy", "instances", "labels", "prototypes"} & set(config.parts):
        table.append(_NOTE)
    (folder / "benchmark.txt").write_text("\n".join(table) + "\n")
    return result


def describe(row: dict[str, Any]) -> str:
    """One line of the table."""
    values = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if name not in ("part", "name")
    )
    return f"{row['part']:<14} {row.get('name', ''):<24} {', '.join(values)}"


def _machine(threads: int) -> dict[str, Any]:
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": cores(),
        "threads": threads,
        "load": os.getloadavg()[0],
        "versions": package_versions(),
    }


def _solver(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    images = photographs(config.data)[:BATCH]
    for side, repeats in PATCHES.items():
        yield from solver_rows(backbone(squares_of(images, side)), repeats)


def _agreement(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    paths = photographs(config.data)
    step = max(1, len(paths) // 200)
    stacks = (backbone(pixels_of(path, backbone.patch_size)) for path in paths[::step])
    yield {"name": "mask IoU to dense eigh", **asdict(mask_agreement(stacks))}


def _refinement(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    with one_thread():  # the CRF, here and there, has one
        yield from refinement_rows(photographs(config.data)[0], backbone, REFINE_REPEATS)


def _proposals(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    root = Path(config.data or "", "camvid")
    of_streets = config.data is not None and root.is_dir()
    paths = split_paths(root, "train") if of_streets else photographs(config.data)
    chosen = paths[:: max(1, len(paths) // PROPOSAL_IMAGES)][:PROPOSAL_IMAGES]
    with one_thread():
        yield from proposal_rows(chosen, _tokens(config), PROPOSAL_REPEATS)


def _instance_stage(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    with one_thread():
        yield from kernel_rows(KERNEL_PATCHES, KERNEL_REPEATS)
        paths = photographs(config.data)
        chosen = paths[:: max(1, len(paths) // STAGE_IMAGES)][:STAGE_IMAGES]
        yield from stage_rows(chosen, backbone, STAGE_SIZES, STAGE_REPEATS)


def _end_to_end(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    yield from end_to_end_rows(config.backbone, config.weights, backbone, photographs(config.data))


def _accuracy(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    if config.data is not None:
        for score in accuracy_rows(Path(config.data), SegmentConfig("", ""), backbone):
            name = f"{score.dataset} {score.metric}, {score.refine}"
            yield {"name": name, **asdict(score)}


def _instances(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    root = Path(config.data or "", "coco_tiny")
    if config.data is None or not root.is_dir():
        return
    job = SegmentConfig("", "", methods=("instances",))
    for split in ("val2017", "train2017"):
        cases = list(read_cases(root, split, job, backbone))
        yield from ladder_rows(split, cases, backbone.name)
        yield from separation_rows(split, cases, backbone.patch_size)
        yield from job_rows(split, cases, job, backbone.patch_size)


def _describing(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    with one_thread():
        path = photographs(config.data)[0]
        yield from describing_rows(path, backbone, _crops(config), DESCRIBE_REPEATS)


def _labels(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    root = Path(config.data or "", "camvid")
    if config.data is None or not root.is_dir():
        return
    names, cell = class_names(root), SegmentConfig("", "").spectral.cell(backbone.patch_size)
    train, test = (read_split(split_paths(root, split), backbone) for split in ("train", "test"))
    few_paths = split_paths(root, "test", step=5)
    few = read_split(few_paths, backbone)
    for protocol, fitted, scored in (("transductive", few, few), ("held out", train, test)):
        about = {"protocol": protocol, "images": len(scored.truth)}
        yield baseline_row(fitted, scored, names, cell) | about
        for setting in SETTINGS:
            yield setting_row(setting, fitted, scored, names, cell) | about
    if (crops := _crops(config)) is not None:
        cropped = read_split(few_paths, backbone, crops)
        about = {"protocol": "transductive", "images": len(few_paths)}
        yield setting_row(DSM, cropped, cropped, names, cell) | about


def _label_scale(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    yield from scale_rows(SCALE_IMAGES, SCALE_DIMENSIONS, SCALE_CLASSES, SCALE_FITS)


def _score_scale(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    yield from score_scale_rows(SCORE_IMAGES, SCORE_WORKERS)


def _scale_out(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    yield from scale_out_rows()


def _prototypes(config: BenchmarkConfig, backbone: Backbone) -> Iterator[dict[str, Any]]:
    root = Path(config.data or "", "camvid")
    if config.data is None or not root.is_dir():
        return
    names = class_names(root)
    with one_thread():
        tokens = _tokens(config)
        test = read_scored(split_paths(root, "test", step=3), tokens)
        for step in (2, 1):
            paths = split_paths(root, "train", step=step)
            rows = proposed(paths, tokens)
            if step == 2:
                yield from epoch_rows(rows, paths, tokens)
            for row in prototype_rows(rows, test, names, tokens.patch_size):
                yield row | {"images": len(paths), "scored": len(test.truth)}


def _tokens(config: BenchmarkConfig) -> Backbone:
    """The backbone with the features that PriMaPs takes."""
    features = BackboneConfig(config.backbone, config.weights, feature="token")
    weights = load_weights(features, None)
    return build_backbone(features, weights.data, weights.source, "cpu")


def _crops(config: BenchmarkConfig) -> CropEncoder | None:
    """None for the descriptor, which has no class token."""
    features = BackboneConfig(backbone=config.backbone, weights=config.weights)
    weights = load_weights(features, None)
    if weights.data is None:
        return None
    return build_class_token(features, weights.data, weights.source, "cpu")


MEASURES: Final = {
    "solver": _solver,
    "agreement": _agreement,
    "refinement": _refinement,
    "proposals": _proposals,
    "instance-stage": _instance_stage,
    "describing": _describing,
    "end-to-end": _end_to_end,
    "accuracy": _accuracy,
    "instances": _instances,
    "labels": _labels,
    "label-scale": _label_scale,
    "score-scale": _score_scale,
    "scale-out": _scale_out,
    "prototypes": _prototypes,
}
