"""CamVid as PriMaPs sees a dataset: square crops, with features of views and proposals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from PIL import Image

from specray.backbones import Backbone, mirrored
from specray.masks import RefineConfig
from specray.pipelines.benchmark.images import BUDGET
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import Prepared
from specray.sources import decode
from specray.tables.rows import Row, table_of

SIDE: Final = 320

PASS: Final = SegmentConfig(
    "", "", methods=("primaps",), keep=("views",), refinement=RefineConfig("crf")
)
"""Proposals with the exact CRF, as published."""


@dataclass(frozen=True)
class Scored:
    """Images to score on."""

    features: list[torch.Tensor]
    """(N, C) float32, averaged with those of the mirror image."""
    grid: tuple[int, int]
    truth: list[NDArray[np.uint8]]
    """(SIDE, SIDE)."""


def proposed(paths: Sequence[Path], backbone: Backbone, config: SegmentConfig = PASS) -> pa.Table:
    """Rows of the segment table of square crops."""
    engine = Engine(config, backbone, "cpu")
    rows: list[Row] = []
    for path in paths:
        (row,) = engine([Prepared(path.name, crop(path), SIDE, SIDE)])
        rows.append(row)
    return table_of(rows)


def read_scored(paths: Sequence[Path], backbone: Backbone) -> Scored:
    """Square crops with their ground truth."""
    cells = SIDE // backbone.patch_size
    truth = [_square(Image.open(path.parents[1] / "labels" / f"{path.stem}.png")) for path in paths]
    return Scored(list(_averaged(paths, backbone, cells)), (cells, cells), truth)


def _averaged(paths: Sequence[Path], backbone: Backbone, cells: int) -> Iterator[torch.Tensor]:
    for path in paths:
        pixels = torch.from_numpy(crop(path)).permute(2, 0, 1)[None]
        clean, turned = backbone(torch.cat([pixels, mirrored(pixels)]))
        yield (clean + turned.unflatten(0, (cells, cells)).flip(1).flatten(0, 1)) / 2


def crop(path: Path) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) uint8: the middle of the image, its short side resized."""
    image = decode(path.read_bytes(), max_pixels=BUDGET, short_side=SIDE).pixels
    return _middle(image)


def _square(labels: Image.Image) -> NDArray[np.uint8]:
    shrink = SIDE / min(labels.size)
    size = round(labels.width * shrink), round(labels.height * shrink)
    return _middle(np.array(labels.resize(size, Image.Resampling.NEAREST)))


def _middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left = (image.shape[0] - SIDE) // 2, (image.shape[1] - SIDE) // 2
    return np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])
