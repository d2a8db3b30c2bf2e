"""The semantic map of one image, from the classes of its segments or patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.masks import ImageGeometry, Refiner, Segment, segments_from_labels
from specray.masks.resize import resize_labels
from specray.masks.rle import RLE
from specray.masks.segments import segments_from_pixels
from specray.sources import resized_size
from specray.tables.rows import Row

METHOD = "class"


@dataclass(frozen=True)
class Classified:
    """What an image is made of."""

    classes: NDArray[np.int64]
    """(P,) of its segments or patches; -1 for none."""
    confidence: NDArray[np.float64]
    """(P,) in [0, 1]."""
    areas: NDArray[np.float64]
    """(P,) pixels, or equal for patches."""

    def mean_confidence(self, label: int) -> float:
        """Of a class, by area."""
        mine = self.classes == label
        return float(np.average(self.confidence[mine], weights=self.areas[mine]))


def map_of_segments(masks: Sequence[RLE], found: Classified) -> list[Segment]:
    """The union of the masks of every class, as they are."""
    segments = []
    for label in _present(found):
        mine = np.flatnonzero(found.classes == label).tolist()
        union = coco_mask.merge([masks[i] for i in mine])
        segments.append(
            Segment(
                method=METHOD,
                index=label,
                score=found.mean_confidence(label),
                bbox=tuple(coco_mask.toBbox(union).tolist()),
                area=int(coco_mask.area(union)),
                rle=RLE(size=list(union["size"]), counts=union["counts"]),
            )
        )
    return segments


def map_of_patches(found: Classified, geometry: ImageGeometry) -> list[Segment]:
    """The patches of every class, blown up to the image."""
    grid = (geometry.grid_h, geometry.grid_w)
    labels, present = _dense(found)
    scores = [found.mean_confidence(label) for label in present]
    segments = segments_from_labels(labels.reshape(grid), geometry, METHOD, scores)
    return [_renamed(segment, present) for segment in segments]


def refined(segments: Sequence[Segment], refiner: Refiner) -> list[Segment]:
    """A map whose borders are moved to those of the image.

    A class that others absorb is left out. Pixels of no class stay one party of their own.

    Parameters
    ----------
    segments
        Disjoint, of method ``class``, at the size of the original image.
    refiner
        Of the image.
    """
    if not segments:
        return []
    height, width = segments[0].rle["size"]
    labels = np.full((height, width), -1, np.int32)
    for place, segment in enumerate(segments):
        labels[coco_mask.decode(segment.rle).astype(bool)] = place
    fine = refiner(resize_labels(labels, *refiner.size))
    scores = [segment.score for segment in segments]
    present = [segment.index for segment in segments]
    geometry = ImageGeometry(height, width, *refiner.size, patch=1, grid_h=1, grid_w=1)
    return [
        _renamed(segment, present)
        for segment in segments_from_pixels(fine, geometry, METHOD, scores)
    ]


def geometry_of(row: Row, cell: int, image_size: int | None) -> ImageGeometry:
    """Where the grid of a row of a segment table lies in its image.

    Parameters
    ----------
    row
        With ``height``, ``width``, ``grid_h``, ``grid_w``.
    cell
        Side of a cell in pixels of the resized image.
    image_size
        Short side to which the image was resized; None: it was not.
    """
    height, width = row["height"], row["width"]
    size = resized_size(height, width, image_size)
    return ImageGeometry(height, width, *size, cell, row["grid_h"], row["grid_w"])


def _present(found: Classified) -> list[int]:
    classes: list[int] = np.unique(found.classes[found.classes >= 0]).tolist()
    return classes


def _dense(found: Classified) -> tuple[NDArray[np.int64], list[int]]:
    """Classes as places in the list of those that are present; -1 stays."""
    present = _present(found)
    places = np.searchsorted(present, found.classes)
    return np.where(found.classes >= 0, places, -1), present


def _renamed(segment: Segment, classes: Sequence[int]) -> Segment:
    return replace(segment, index=classes[segment.index])
