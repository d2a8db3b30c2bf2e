"""Small images with instances, and somebody's idea of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

SIZE = (60, 80)
KEYS = tuple(f"{name}/{i:03}.jpg" for name in ("cows", "dogs") for i in range(6))


def rectangles(seed: int, count: int) -> list[NDArray[np.bool_]]:
    """Masks that do not overlap, the later ones in front."""
    generator = np.random.default_rng(seed)
    masks: list[NDArray[np.bool_]] = []
    for _ in range(count):
        top, left = generator.integers(0, [SIZE[0] - 15, SIZE[1] - 15])
        height, width = generator.integers(8, 30, 2)
        mask = np.zeros(SIZE, bool)
        mask[top : top + height, left : left + width] = True
        masks = [each & ~mask for each in masks]
        masks.append(mask)
    return [mask for mask in masks if mask.any()]


def true_masks(key: str) -> list[NDArray[np.bool_]]:
    return rectangles(KEYS.index(key), 1 + KEYS.index(key) % 3)


def found_masks(key: str) -> list[tuple[NDArray[np.bool_], float]]:
    """The true ones, moved, and others besides; of the last image nothing."""
    index = KEYS.index(key)
    if index == len(KEYS) - 1:
        return []
    moved = [np.roll(mask, index % 4, axis=(0, 1)) for mask in true_masks(key)]
    masks = [*moved, *rectangles(100 + index, index % 3)]
    scores = np.random.default_rng(index).integers(1, 9, len(masks)) / 8
    return list(zip(masks, scores.tolist(), strict=True))


def encoded(mask: NDArray[np.bool_]) -> dict[str, Any]:
    found = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": found["size"], "counts": found["counts"].decode()}


def write_coco(folder: Path) -> Path:
    """Ground truth in COCO's format."""
    images = [
        {"id": 7 * i + 3, "file_name": key, "height": SIZE[0], "width": SIZE[1]}
        for i, key in enumerate(KEYS)
    ]
    annotations: list[dict[str, Any]] = []
    for image in images:
        for mask in true_masks(str(image["file_name"])):
            rle = encoded(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": int(mask.sum()),
                    "bbox": coco_mask.toBbox({**rle, "counts": rle["counts"].encode()}).tolist(),
                    "segmentation": rle,
                }
            )
    tree = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    path = folder / "truth.json"
    path.write_text(json.dumps(tree))
    return path


def results(*, boxes: bool = False) -> list[dict[str, Any]]:
    """What a detector writes: a list, images by the ids of the ground truth."""
    found = []
    for i, key in enumerate(KEYS):
        for mask, score in found_masks(key):
            rle = encoded(mask)
            bbox = coco_mask.toBbox({**rle, "counts": rle["counts"].encode()}).tolist()
            entry = {"image_id": 7 * i + 3, "category_id": 5, "score": score, "bbox": bbox}
            found.append(entry if boxes else entry | {"segmentation": rle})
    return found


def as_dataset(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The same with the names of the images."""
    images = [
        {"id": 7 * i + 3, "file_name": key, "height": SIZE[0], "width": SIZE[1]}
        for i, key in enumerate(KEYS)
    ]
    return {"images": images, "annotations": results, "categories": [{"id": 5, "name": "y"}]}


def write_maps(folder: Path, masks: dict[str, NDArray[np.uint8]]) -> Path:
    """A PNG for every image."""
    for key, mask in masks.items():
        path = (folder / key).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return folder
