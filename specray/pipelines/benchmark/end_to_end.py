"""The whole job against the least that could be done: the backbone alone, in a loop."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from specray.backbones import Backbone, BackboneConfig
from specray.masks import RefineConfig
from specray.masks.config import Refine
from specray.pipelines.benchmark.images import pixels_of
from specray.pipelines.cluster import cores, ray_session
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.segment import run_segment

IMAGES: Final = 192
LOOP_STEP: Final = 4
"""The bare loop runs over every fourth of the images: it has no start-up to spread."""
SIDE: Final = 480
ROUNDS: Final = 3
REFINED: Final[tuple[Refine, ...]] = ("none", "fast")


def end_to_end_rows(
    name: str, weights: str | None, backbone: Backbone, paths: list[Path]
) -> Iterator[dict[str, Any]]:
    """Images per second of the segment job and of a bare loop, measured in turns.

    The loop runs the same backbone over the same images, decoded beforehand, one at a time with
    one thread per core. The job lists, reads, decodes, segments, refines or not, encodes and writes
    on the same cores; its rate counts from when its actors are warm, its seconds are the whole
    command.
    """
    loop: list[float] = []
    jobs: dict[Refine, list[dict[str, Any]]] = {refine: [] for refine in REFINED}
    with tempfile.TemporaryDirectory() as folder, ray_session():
        source = Path(folder, "in")
        source.mkdir()
        chosen = [paths[i * len(paths) // IMAGES] for i in range(IMAGES)]
        for i, path in enumerate(chosen):
            shutil.copy(path, source / f"{i:04}{path.suffix}")
        decoded = [pixels_of(path, backbone.patch_size, SIDE) for path in chosen[::LOOP_STEP]]
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            for pixels in decoded:
                backbone(pixels)
            loop.append(len(decoded) / (time.perf_counter() - begin))
            for refine, results in jobs.items():
                config = SegmentConfig(
                    input=str(source),
                    output=str(Path(folder, "out")),
                    images=ImageConfig(image_size=SIDE),
                    features=BackboneConfig(backbone=name, weights=weights),
                    refinement=RefineConfig(refine),
                    run=RunConfig(overwrite=True, device="cpu"),
                )
                results.append(run_segment(config))
    loop_rate = statistics.median(loop)
    for refine, results in jobs.items():
        rate = statistics.median(result["images_per_second"] for result in results)
        yield {
            "name": f"segment, refine {refine} / bare backbone",
            "ratio": rate / loop_rate,
            "segment_images_per_second": rate,
            "loop_images_per_second": loop_rate,
            "segment_with_start_up": IMAGES / statistics.median(r["seconds"] for r in results),
            "images": IMAGES,
            "cores": cores(),
            "rounds": ROUNDS,
        }
