"""Predictions in a COCO JSON: what CutLER, Detectron2, MMDetection and many others write."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Final

from pycocotools import mask as coco_mask

from specray.datasets import Dataset, stem
from specray.errors import ImageError, UserError
from specray.masks.rle import RLE
from specray.pipelines.evaluate.predictions.base import Piece, Predictable, parts
from specray.pipelines.evaluate.predictions.segments import PredictedSegments
from specray.sources import open_parent

IMAGES_PER_PIECE: Final = 256


@dataclass(frozen=True)
class CocoPredictions:
    """A list of results, or a whole dataset with ``images`` and ``annotations``.

    In a list of results images have no more than an id: that of the ground truth, or a file name.
    What has no ``score``, as pseudo ground truth, counts as 1.

    Parameters
    ----------
    uri
        Of the file.
    entries
        Predictions of every image, by its stem.
    sizes
        (H, W) of the images that tell.
    digest
        Of the file.
    """

    uri: str
    entries: Mapping[str, Sequence[Mapping[str, Any]]]
    sizes: Mapping[str, tuple[int, int]]
    digest: str

    @property
    def identity(self) -> str:
        """The digest."""
        return self.digest

    @property
    def kinds(self) -> frozenset[Predictable]:
        """Boxes anyway."""
        return frozenset({"boxes", "instances", *(("mask",) if self.masks else ())})

    @cached_property
    def masks(self) -> bool:
        """Whether all have one."""
        return all(each.get("segmentation") for found in self.entries.values() for each in found)

    @property
    def names(self) -> tuple[str, ...]:
        """Categories do not count: everything is an object."""
        return ()

    def pieces(self, stems: frozenset[str]) -> Iterator[tuple[list[str], Piece]]:
        """Some images at a time."""
        for part in parts(sorted(stems & self.entries.keys()), IMAGES_PER_PIECE):
            of_part = {each: (self.sizes.get(each), self.entries[each]) for each in part}
            yield list(part), CocoPiece(of_part, self.masks)

    def unknown(self, stems: frozenset[str]) -> int:
        """Images that are not among `stems`."""
        return len(self.entries.keys() - stems)


@dataclass(frozen=True)
class CocoPiece:
    """Some images of the file."""

    entries: Mapping[str, tuple[tuple[int, int] | None, Sequence[Mapping[str, Any]]]]
    masks: bool

    def read(self) -> Iterator[tuple[str, PredictedSegments]]:
        """The surest first."""
        for name, (size, entries) in self.entries.items():
            found = [self._segment(name, each, size) for each in entries]
            found.sort(key=lambda each: -each["score"])
            yield name, PredictedSegments(size, objects=found, found=found)

    def _segment(
        self, name: str, entry: Mapping[str, Any], size: tuple[int, int] | None
    ) -> dict[str, Any]:
        try:
            score = float(entry.get("score", 1))
            if not self.masks:
                return {"score": score, "bbox": [float(side) for side in entry["bbox"]]}
            rle = _encoded(entry["segmentation"], size)
            bbox = entry.get("bbox") or coco_mask.toBbox(rle).tolist()
            return {"score": score, "bbox": [float(side) for side in bbox], "rle": rle}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"--input: an entry of {name} is no COCO annotation: {error}") from None


def _encoded(segmentation: Any, size: tuple[int, int] | None) -> RLE:
    """Polygons, run lengths or compressed run lengths as the last."""
    if isinstance(segmentation, list):
        if size is None:
            raise ValueError("polygons need the sizes of the images, which a list of results lacks")
        return _rle(coco_mask.merge(coco_mask.frPyObjects(segmentation, *size)))
    if isinstance(segmentation["counts"], list):
        return _rle(coco_mask.frPyObjects(segmentation, *segmentation["size"]))
    return _rle(segmentation)


def _rle(found: Mapping[str, Any]) -> RLE:
    counts = found["counts"]
    data = counts.encode() if isinstance(counts, str) else counts
    return {"size": [int(side) for side in found["size"]], "counts": data}


def coco_predictions(uri: str, dataset: Dataset, endpoint: str | None) -> CocoPredictions:
    """Read a file of predictions.

    Parameters
    ----------
    uri
        Of the JSON.
    dataset
        The ground truth, by which ids of images are understood.
    endpoint
        Of an S3-compatible store.

    Raises
    ------
    UserError
        It cannot be read, is no such JSON, or names images that nobody knows.
    """
    store, name = open_parent(uri, endpoint)
    try:
        data = store.read(name).data
        tree = json.loads(data)
    except ImageError as error:
        raise UserError(f"cannot read --input {uri}: {error.message}") from None
    except ValueError:
        raise UserError(f"--input {uri} is no JSON") from None
    digest = hashlib.sha256(data).hexdigest()
    try:
        return CocoPredictions(uri, *_grouped(tree, dataset), digest)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"--input {uri} is no COCO JSON, neither a list of results nor a dataset: {error!r}"
        ) from None


def _grouped(
    tree: Any, dataset: Dataset
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, tuple[int, int]]]:
    results = tree if isinstance(tree, list) else tree["annotations"]
    named = {} if isinstance(tree, list) else {each["id"]: each for each in tree["images"]}
    known = set(map(stem, dataset.keys()))
    numbers = {number: stem(key) for number, key in dataset.numbers().items()}
    last = {PurePosixPath(each).name: each for each in known}
    sizes: dict[str, tuple[int, int]] = {}
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def of(image: Any) -> str:
        if image not in named:
            return numbers.get(image, str(image)) if isinstance(image, int) else stem(str(image))
        name = stem(named[image]["file_name"])
        # other tools are told a folder of images, not the dataset
        return name if name in known else last.get(PurePosixPath(name).name, name)

    for image, each in named.items():
        name = of(image)
        entries[name] = []  # an image in which nothing was found
        if "height" in each:
            sizes[name] = (int(each["height"]), int(each["width"]))
    for result in results:
        entries[of(result["image_id"])].append(result)
    return dict(entries), sizes
