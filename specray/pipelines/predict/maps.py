"""From the scores of an image to its row."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from specray.masks import RefineConfig, Refiner, class_map, class_segments
from specray.pipelines.engine import failure
from specray.pipelines.preparing import Prepared
from specray.tables.rows import Row, error_row, segment_row


@dataclass(frozen=True)
class MakeMap:
    """What a row has besides what an engine of scores says of its image.

    Parameters
    ----------
    refinement
        How.
    patch_size
        Of the backbone.
    confidence
        Whether to keep that of every pixel.
    ids
        (K,) of the classes; None: their places.
    """

    refinement: RefineConfig
    patch_size: int
    confidence: bool
    ids: tuple[int, ...] | None = None

    def __call__(self, image: Prepared, scored: Row) -> Row:
        """The map of an image, or its error.

        Parameters
        ----------
        image
            The image.
        scored
            Its ``grid_h``, ``grid_w``, ``features``, which are scores, and ``feature_scale``.
        """
        try:
            return self._made(image, scored)
        except Exception as error:
            return {"error": error_row(failure(error))}

    def _made(self, image: Prepared, scored: Row) -> Row:
        grid = (scored["grid_h"], scored["grid_w"])
        scores = scored["features"].astype(np.float32) * np.float32(scored["feature_scale"])
        of_classes = torch.from_numpy(scores).reshape(*grid, -1).permute(2, 0, 1)
        geometry = image.geometry(self.patch_size, grid)
        refiner = None
        if self.refinement.refine != "none":
            refiner = Refiner(image.pixels, self.refinement)
        found = class_map(of_classes, geometry, refiner)
        segments = class_segments(found, len(of_classes), geometry)
        if self.ids is not None:
            segments = [replace(each, index=self.ids[each.index]) for each in segments]
        row: Row = {"segments": [segment_row(segment) for segment in segments]}
        if self.confidence:
            row["confidence"] = _png(found.confidence)
        return row


def _png(confidence: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * confidence).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
