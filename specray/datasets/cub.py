"""CUB-200-2011: a bird in every image, with its box and its mask."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from specray.datasets.base import Kind, Truth
from specray.datasets.folder import Folder, open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.png import read_mask
from specray.errors import UserError
from specray.evaluation import xywh_boxes

_TRAINING: Final = {"train": "1", "test": "0"}


@dataclass(frozen=True)
class Bird:
    """What the lists say of an image."""

    mask: str
    """Its file below ``segmentations``."""
    box: tuple[float, ...]
    """[x, y, width, height] in pixels."""


@dataclass(frozen=True)
class Birds:
    """Reads the masks of birds."""

    folder: Folder

    def __call__(self, bird: Bird, wanted: Container[Kind]) -> Truth:
        """The annotated box, not that of the mask; the mask where half of the annotators agree."""
        return Truth(
            boxes=xywh_boxes(bird.box) if "boxes" in wanted else None,
            mask=read_mask(self.folder, bird.mask) if "mask" in wanted else None,
        )


def cub(uri: str, endpoint: str | None = None, split: str = "test") -> IndexedDataset[Bird]:
    """Images ``images/CLASS/X.jpg``, masks ``segmentations/CLASS/X.png``.

    Parameters
    ----------
    uri, endpoint
        Of the folder that holds them, ``images.txt`` and the other lists.
    split
        ``test`` or ``train``.

    References
    ----------
    C. Wah et al., The Caltech-UCSD Birds-200-2011 dataset, 2011.
    """
    root = open_folder(uri, endpoint)
    wanted = [_TRAINING[split]]

    def index() -> Iterator[tuple[str, Bird]]:
        boxes = _table(root, "bounding_boxes.txt", 4)
        training = _table(root, "train_test_split.txt", 1)
        for number, (key,) in _table(root, "images.txt", 1).items():
            with root.damaged("images.txt", "list of the images of the other two lists"):
                kept = training[number] == wanted
                box = tuple(map(float, boxes[number]))
            if kept:
                yield key, Bird(str(PurePosixPath(key).with_suffix(".png")), box)

    read = Birds(root.at("segmentations"))
    return IndexedDataset(frozenset({"boxes", "mask"}), index, read, root.at("images").uri)


def _table(root: Folder, name: str, columns: int) -> dict[str, list[str]]:
    """The lines of a list by the number of their image."""
    table = {}
    for line in root.lines(name):
        number, *values = line.split()
        if len(values) != columns:
            raise UserError(
                f"--truth: {name} in {root.uri} has a line without {columns + 1} columns: "
                f"{line[:80]!r}; download it again"
            )
        table[number] = values
    return table
