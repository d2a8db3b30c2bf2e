"""COCO's annotations as they are published."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def coco_images(root: Path, split: str) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """Every image of a split, by its name, with its annotations, crowds included.

    Parameters
    ----------
    root
        Folder with ``annotations/instances_<split>*.json`` and the images in a folder per split.
    split
        ``val2017``, ...
    """
    (file,) = (root / "annotations").glob(f"instances_{split}*.json")
    tree = json.loads(file.read_text())
    annotations = defaultdict(list)
    for annotation in tree["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    for image in sorted(tree["images"], key=lambda image: image["file_name"]):
        yield root / split / image["file_name"], annotations[image["id"]]
