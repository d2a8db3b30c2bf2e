"""The images that benchmarks run on."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from specray.pipelines.demo import save_photographs
from specray.pipelines.preparing import prepare
from specray.sources import IMAGE_SUFFIXES, decode

BUDGET = 50_000_000
"""Pixels, as the segment job's default."""


def photographs(root: str | None) -> list[Path]:
    """Photographs below a root, spread over its sets, or those of scikit-image."""
    if root is None:
        folder = Path(tempfile.gettempdir(), "specray-benchmark")
        save_photographs(folder)
        return sorted(folder.glob("*.png"))
    sets = [
        [path for path in sorted(Path(root, name).rglob("*")) if path.suffix in IMAGE_SUFFIXES]
        for name in ("davis2016_val/images", "kangaroo/images", "coco_tiny/val2017")
    ]
    return [path for images in sets for path in images]


def pixels_of(path: Path, patch_size: int, short_side: int | None = None) -> Tensor:
    """``(1, 3, H, W)`` uint8: an image as the segment job gives it to the backbone."""
    image = decode(path.read_bytes(), max_pixels=BUDGET, short_side=short_side)
    pixels = torch.from_numpy(prepare(path.name, image).whole_patches(patch_size).copy())
    return pixels.permute(2, 0, 1)[None]


def squares_of(paths: list[Path], side: int) -> Tensor:
    """``(B, 3, side, side)`` uint8: the top left squares of images resized to that short side."""
    return torch.cat([pixels_of(path, 1, side)[:, :, :side, :side] for path in paths])
