"""What it costs to describe the segments of an image, beside the backbone's own pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specray.backbones import Backbone, CropEncoder
from specray.masks import ImageGeometry, described, region_segments, superpixel_segments
from specray.pipelines.benchmark.images import BUDGET, pixels_of
from specray.pipelines.benchmark.labels.camvid import DSM_REGIONS, PASS
from specray.pipelines.benchmark.timing import alternate
from specray.pipelines.crops import describe_crops
from specray.pipelines.preparing import prepare
from specray.sources import decode
from specray.spectral import SpectralConfig, decompose


def describing_rows(
    path: Path, backbone: Backbone, crops: CropEncoder | None, repeats: int
) -> Iterator[dict[str, Any]]:
    """The backbone's pass over the time of each way; above 1 the way is faster than the pass.

    Parameters
    ----------
    path
        An image.
    backbone, crops
        Its features, and those of crops; None leaves crops out.
    repeats
        Timed calls of each.
    """
    image = prepare(path.name, decode(path.read_bytes(), max_pixels=BUDGET))
    pixels = pixels_of(path, backbone.patch_size)
    features = backbone(pixels)[0]
    cell = SpectralConfig().cell(backbone.patch_size)
    height, width = pixels.shape[2:]
    grid = (height // cell, width // cell)
    size = (image.height, image.width)
    geometry = ImageGeometry(*size, *size, cell, *grid)
    pairs, _ = decompose(features[None], grid, cell, SpectralConfig())
    regions = region_segments(pairs.vectors, pairs.values, grid, [geometry], DSM_REGIONS, [0])[0][
        1:
    ]
    (parts,) = superpixel_segments(features[None], grid, [geometry], PASS.superpixels)
    ways: dict[str, Callable[[], object]] = {
        "means of superpixels": partial(described, parts, features, geometry),
        "superpixels themselves": partial(
            superpixel_segments, features[None], grid, [geometry], PASS.superpixels
        ),
    }
    if crops is not None:
        ways["crops of regions, batched"] = partial(describe_crops, image, regions, cell, crops)
    with torch.inference_mode():
        for name, way in ways.items():
            compared = alternate(way, partial(backbone, pixels), repeats, name)
            yield asdict(compared) | {
                "segments": len(regions) if "crops" in name else len(parts),
                "patches": int(np.prod(grid)),
            }
