"""Two small labelled sets: videos with masks, one image of them broken, and boxes in XML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from specray.pipelines.sweep.config import GridConfig, HeldOutConfig, SetsConfig, SweepConfig
from tests.pipelines.photographs import BAD, HEIGHT, WIDTH, write_photographs

MASKS, BOXES = 7, 5
BACKBONE, DEPTH = "test_vit", 6
BROKEN = "a/broken.jpg"


def write_masks(folder: Path, broken: bool = True) -> None:
    """``images`` in two folders, of which one is broken, and ``masks`` of a moving ellipse."""
    keys = write_photographs(folder / "images", MASKS)
    if broken:
        (folder / "images" / BROKEN).write_bytes(BAD["truncated.jpg"][0])
        keys.append(BROKEN)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for i, key in enumerate(keys):
        mask = ((x - 40 - 6 * i) / 30) ** 2 + ((y - 50) / 25) ** 2 < 1
        path = (folder / "masks" / key).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def write_boxes(folder: Path) -> None:
    """``images`` and ``annotations``, an object in each."""
    for i, key in enumerate(write_photographs(folder / "images", BOXES)):
        path = (folder / "annotations" / key).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        box = f"<xmin>{10 + 8 * i}</xmin><ymin>12</ymin><xmax>{80 + 8 * i}</xmax><ymax>90</ymax>"
        path.write_text(f"<annotation><object><bndbox>{box}</bndbox></object></annotation>")


def config_of(
    root: Path, weights: Path, output: Path, *, workers: int = 1, **changes: object
) -> SweepConfig:
    """A sweep over both sets, with a third held out."""
    return SweepConfig(
        str(output),
        backbone=BACKBONE,
        weights=str(weights),
        num_workers=workers,
        device="cpu",
        sets=SetsConfig(
            (str(root / "a" / "masks"), str(root / "b" / "annotations")),
            ("masks", "voc-xml"),
            (str(root / "a" / "images"), str(root / "b" / "images")),
        ),
        held_out=HeldOutConfig(
            (str(root / "c" / "masks"),), ("masks",), (str(root / "c" / "images"),)
        ),
        grid=GridConfig(blocks=(0, 3, -1), features=("k", "token")),
        **changes,  # type: ignore[arg-type]
    )
