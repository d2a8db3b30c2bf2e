"""The rows of images without Ray: classes of their points, and the semantic maps of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specray.errors import ImageError, Stage, UserError, unforeseen
from specray.masks import RefineConfig, Refiner
from specray.pipelines.labels.config import Background, Source
from specray.pipelines.labels.maps import (
    Classified,
    geometry_of,
    map_of_patches,
    map_of_segments,
    refined,
)
from specray.pipelines.labels.points import Points, points_of
from specray.pipelines.revisiting import decode_again
from specray.semantics import Codebook
from specray.sources import Blob
from specray.tables.rows import Row, error_row


@dataclass(frozen=True)
class Labeller:
    """Gives the points of images their classes, and makes the semantic maps of these.

    Parameters
    ----------
    codebook
        The classes.
    source, background
        As in `LabelConfig`.
    cell
        Side of a cell of the grid, in pixels of the image as the backbone saw it.
    image_size
        Short side of that image; None: its own.
    """

    codebook: Codebook
    source: Source
    background: Background
    cell: int
    image_size: int | None

    def __call__(self, places: pa.Table) -> list[Row]:
        """Rows of `LABELS`, of places of which none is an error; maps are not refined.

        ``segments`` are not rows yet.
        """
        points = points_of(places, self.source)
        classes, confidence = self._classes(points)
        ends = np.searchsorted(points.rows, np.arange(places.num_rows + 1))
        of_places = places.drop_columns(["segments", "features"]).to_pylist()
        return [
            row | self._labelled(row, points.slice(a, b), classes[a:b], confidence[a:b])
            for row, a, b in zip(of_places, ends[:-1], ends[1:], strict=True)
        ]

    def _classes(self, points: Points) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not len(points.rows):
            return np.zeros(0, np.int64), np.zeros(0)
        found = self.codebook.assign(points.features)
        classes, confidence = found.classes.copy(), found.confidence.astype(np.float64)
        if self.background != "class":
            behind = points.index == 0
            classes[behind] = -1 if self.background == "apart" else 0
            confidence[behind] = 0  # nobody has compared it
        return classes, confidence

    def _labelled(
        self, row: Row, points: Points, classes: NDArray[np.int64], confidence: NDArray[np.float64]
    ) -> Row:
        if points.segments is None:
            found = Classified(classes, confidence, np.ones(len(classes)))
            geometry = geometry_of(row, self.cell, self.image_size)
            return {"segments": map_of_patches(found, geometry), "points": None}
        areas = pc.struct_field(points.segments, "area").to_numpy().astype(np.float64)
        found = Classified(classes, confidence, areas)
        masks = pc.struct_field(points.segments, "rle").to_pylist()
        boxes = pc.struct_field(points.segments, "bbox").to_pylist()
        of_points = zip(points.index.tolist(), classes.tolist(), confidence, boxes, strict=True)
        names = ("index", "class", "confidence", "bbox")
        return {
            "segments": map_of_segments(masks, found),
            "points": [dict(zip(names, values, strict=True)) for values in of_points],
        }


@dataclass(frozen=True)
class RefineMap:
    """Moves the borders of the map of a row to those of its photograph.

    Parameters
    ----------
    config
        How.
    max_pixels, image_size
        As in the segment run.
    """

    config: RefineConfig
    max_pixels: int
    image_size: int | None

    def __call__(self, row: Row, blob: Blob | ImageError) -> Row:
        """The refined map; faults become ``error``."""
        try:
            short_side = self.config.refine_size or self.image_size
            if short_side is not None:
                short_side = min(short_side, row["height"], row["width"])
            image = decode_again(row, blob, self.max_pixels, short_side)
            return {"segments": refined(row["segments"], Refiner(image.pixels, self.config))}
        except ImageError as error:
            return _failed(ImageError(error.code, Stage.LABEL, error.message))
        except UserError:
            raise
        except Exception as error:
            return _failed(unforeseen(error, Stage.LABEL))


def _failed(error: ImageError) -> Row:
    return {"error": error_row(error)}
