"""The evaluate job on very many images: its rate with one worker and two, and its memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from PIL import Image

from specray.backbones import BackboneConfig
from specray.masks import ImageGeometry, Segment
from specray.masks.segments import segments_from_labels
from specray.pipelines.benchmark.synthetic import PATCH, write_run
from specray.pipelines.benchmark.watching import measured_job
from specray.pipelines.config import SegmentConfig
from specray.tables.rows import segment_row, table_of

INSTANCES: Final = 6
"""Predicted and true ones of an image."""

_GRID: Final = (15, 20)
_KINDS: Final = 16
"""Different images; each is there many times."""


def score_scale_rows(images: int, workers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Score synthetic instances with each number of workers, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        predictions, truth = str(Path(folder, "predictions")), Path(folder, "truth")
        write_predictions(predictions, images)
        write_truth(truth, images)
        rates: dict[int, float] = {}
        for count in workers:
            output = str(Path(folder, f"scores-{count}"))
            command = ["evaluate", "--input", predictions, "--output", output]
            command += ["--truth", str(truth), "--dataset", "instance-maps"]
            command += ["--num-workers", str(count), "--tasks", "localisation", "instances"]
            result, measured = measured_job(command, {}, "evaluate")
            rates[count] = images / result["seconds"]
            yield {
                "name": f"evaluate, {count} worker{'s' if count > 1 else ''}",
                "images": images,
                "instances": images * INSTANCES,
                "images_per_second": rates[count],
                "over_fewest_workers": rates[count] / rates[min(rates)],
                **measured,
            }


def write_predictions(output: str, images: int) -> None:
    """Write the output of a segment run over images that there are not; memory holds one shard.

    Parameters
    ----------
    output
        Folder or URI.
    images
        Rows; each has an object and `INSTANCES` instances.
    """
    config = SegmentConfig(
        input=f"{output.rstrip('/')}-photographs",
        output=output,
        methods=("objects", "instances"),
        features=BackboneConfig(backbone="descriptor"),
    )
    kinds = [_segments(seed) for seed in range(_KINDS)]
    write_run(config, images, lambda listed, _: _table(listed, kinds))


def write_truth(folder: Path, images: int) -> None:
    """Write a map of instances for every image: those that are predicted, a few cells off."""
    folder.mkdir(parents=True)
    maps = [np.roll(_labels(seed), 1, axis=(0, 1)) for seed in range(_KINDS)]
    files = [folder / f"kind-{seed}" for seed in range(_KINDS)]
    for file, labels in zip(files, maps, strict=True):
        pixels = (labels + 1).astype(np.uint8).repeat(PATCH, 0).repeat(PATCH, 1)
        Image.fromarray(pixels).save(file, "PNG")
    data = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    with ThreadPoolExecutor(4) as pool:
        names = (folder / f"{i:09}.png" for i in range(images))
        list(pool.map(lambda name: name.write_bytes(data[int(name.stem) % _KINDS]), names))


def _labels(seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(h, w) instances 0 to `INSTANCES` - 1 that do not touch; -1 is background."""
    labels = np.full(_GRID, -1, np.int64)
    rng = np.random.default_rng(seed)
    for number in range(INSTANCES):
        top, left = 1 + 7 * (number // 3), 1 + 6 * (number % 3)
        height, width = rng.integers(2, 6, 2)
        labels[top : top + height, left : left + width] = number
    return labels


def _segments(seed: int) -> list[Segment]:
    height, width = _GRID[0] * PATCH, _GRID[1] * PATCH
    geometry = ImageGeometry(height, width, height, width, PATCH, *_GRID)
    labels = _labels(seed)
    scores = np.random.default_rng(seed).random(INSTANCES)
    objects = segments_from_labels(np.minimum(labels, 0), geometry, "object", scores[:1])
    return [*objects, *segments_from_labels(labels, geometry, "instance", scores)]


def _table(listed: pa.Table, kinds: Sequence[Sequence[Segment]]) -> pa.Table:
    rows = [
        {
            **entry,
            "height": _GRID[0] * PATCH,
            "width": _GRID[1] * PATCH,
            "grid_h": _GRID[0],
            "grid_w": _GRID[1],
            "segments": [segment_row(each) for each in kinds[int(entry["key"][:9]) % _KINDS]],
        }
        for entry in listed.to_pylist()
    ]
    return table_of(rows)
