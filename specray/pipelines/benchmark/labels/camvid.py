"""CamVid as segment tables with ground truth."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from specray.backbones import Backbone, CropEncoder
from specray.masks import RefineConfig, RegionConfig
from specray.pipelines.benchmark.images import BUDGET
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import prepare
from specray.sources import decode
from specray.tables.rows import Row, table_of

IGNORED: Final = 11
"""Ground truth of pixels that do not count."""

DSM_REGIONS: Final = RegionConfig(regions=15, erode=2, dilate=5)
"""Of DSM's semantic segmentation."""

PASS: Final = SegmentConfig(
    "",
    "",
    methods=("regions", "superpixels"),
    keep=("features",),
    regions=DSM_REGIONS,
    refinement=RefineConfig("none"),
)
"""One pass for all label sources: segments end at patches, as in DSM's semantic segmentation."""


@dataclass(frozen=True)
class Split:
    """Images with their segments and ground truth, in the order of their names."""

    segments: pa.Table
    """Rows of the segment schema."""
    truth: list[NDArray[np.uint8]]
    """(H, W) classes, or `IGNORED`."""
    pixels: Callable[[int], NDArray[np.uint8]]
    """(H, W, 3) of an image."""


def class_names(root: Path) -> list[str]:
    """Of the classes that count."""
    names: list[str] = json.loads((root / "classes.json").read_text())[:IGNORED]
    return names


def split_paths(root: Path, split: str, step: int = 1) -> list[Path]:
    """Every `step`-th image of a split."""
    return sorted((root / split / "images").iterdir())[::step]


def read_split(
    paths: Sequence[Path], backbone: Backbone, crops: CropEncoder | None = None
) -> Split:
    """Segment images as the job does.

    Parameters
    ----------
    paths
        Of `split_paths`.
    backbone
        Of the features.
    crops
        Describes the segments by crops, and there are regions alone; None takes means.
    """
    config = PASS
    if crops is not None:
        config = dataclasses.replace(PASS, methods=("regions",), keep=(), describe="crop")
    engine = Engine(config, backbone, "cpu", crops=crops)
    rows: list[Row] = []
    for path in paths:
        (row,) = engine([prepare(path.name, decode(path.read_bytes(), max_pixels=BUDGET))])
        rows.append(row)
    truth = [np.array(Image.open(_labels_of(path))) for path in paths]
    return Split(
        table_of(rows), truth, lambda i: decode(paths[i].read_bytes(), max_pixels=BUDGET).pixels
    )


def _labels_of(path: Path) -> Path:
    return path.parents[1] / "labels" / f"{path.stem}.png"
