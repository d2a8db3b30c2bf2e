"""Images with the instances of their ground truth, and all that methods need of them, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from specray.backbones import Backbone
from specray.evaluation import TrueInstance, patch_labels
from specray.masks import RLE, instance_foreground
from specray.pipelines.benchmark.coco import coco_images
from specray.pipelines.config import SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import Prepared, prepare
from specray.sources import decode
from specray.tables.rows import Row

CROWD = 255
"""Id of the pixels of crowds, which are background."""


@dataclass(frozen=True)
class Case:
    """An image of the benchmark of instances."""

    prepared: Prepared
    spectrum: Row
    """Of an engine without masks."""
    features: Tensor
    """(N, C) of the patches, as the backbone gives them."""
    foreground: NDArray[np.bool_]
    """(h, w) the mask that the spectral methods cluster."""
    ids: NDArray[np.uint8]
    """(H, W) true instances; 0 is background."""
    patch_ids: NDArray[np.integer]
    """(h, w) the same on the grid, where small ones vanish."""
    annotations: list[TrueInstance]
    """The same as published: they may overlap, and there are crowds."""

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) patches."""
        return self.spectrum["grid_h"], self.spectrum["grid_w"]

    @property
    def count(self) -> int:
        """The oracle's K: true instances on the grid."""
        return np.unique(self.patch_ids[self.patch_ids > 0]).size


def read_cases(root: Path, split: str, config: SegmentConfig, backbone: Backbone) -> Iterator[Case]:
    """The images of a split of ``coco_tiny``, by their names.

    Parameters
    ----------
    root
        Folder of the set: as of `coco_images`, and ids as ``instances_<split>/*.png``.
    split
        ``train2017`` or ``val2017``.
    config
        Of the job whose masks are scored; its only method is ``instances``.
    backbone
        Sees every image once.
    """
    seen = _Remembering(backbone)
    engine = Engine(config, seen, "cpu", masks=False)
    for path, published in coco_images(root, split):
        prepared = prepare(
            path.name, decode(path.read_bytes(), max_pixels=config.images.max_pixels)
        )
        (spectrum,) = engine([prepared])
        grid = (spectrum["grid_h"], spectrum["grid_w"])
        ids = np.asarray(Image.open(root / f"instances_{split}" / f"{path.stem}.png"))
        ids = np.where(ids == CROWD, 0, ids)
        yield Case(
            prepared=prepared,
            spectrum=spectrum,
            features=seen.features,
            foreground=instance_foreground(seen.features, grid),
            ids=ids,
            patch_ids=patch_labels(ids, grid),
            annotations=[_true_instance(each, ids.shape) for each in published],
        )


class _Remembering:
    """A backbone whose last features can be had in full precision, not only as the engine's."""

    def __init__(self, backbone: Backbone) -> None:
        self.name, self.patch_size = backbone.name, backbone.patch_size
        self._backbone = backbone

    def __call__(self, images: Tensor) -> Tensor:
        features = self._backbone(images)
        self.features = features[0]
        return features


def _true_instance(annotation: dict[str, Any], size: tuple[int, ...]) -> TrueInstance:
    found = coco_mask.frPyObjects(annotation["segmentation"], *size)
    rle: RLE = coco_mask.merge(found) if isinstance(found, list) else found
    return {"rle": rle, "area": annotation["area"], "iscrowd": annotation["iscrowd"]}
