"""Objects as they were before they were refined, out of the eigenvectors that were kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from specray.masks import ImageGeometry, ObjectConfig
from specray.sources import resized_size
from specray.tables.rows import Row, segment_row

_PATCHES: Final = (16, 14, 8, 32)
"""Patch sizes of backbones, the likely ones first. The table does not say it; the sizes of image
and grid do, but for images of two or three patches."""


def kept_eigenvectors(row: Row) -> NDArray[np.float64]:
    """(K, grid_h, grid_w): the kept eigenvectors of a good row; K = 0 if none were."""
    kept = np.array(row["eigenvectors"] or [], dtype=np.float64)
    return kept.reshape(-1, row["grid_h"], row["grid_w"])


def raw_objects(row: Row, configuration: Mapping[str, Any]) -> list[Row]:
    """The segments of method ``object`` that the same run gives with ``--refine none``.

    Parameters
    ----------
    row
        Of the segment schema, without error.
    configuration
        Of its run, as ``run.json`` has it.

    Returns
    -------
    Segments, the largest first; none if the eigenvectors were not kept.
    """
    vectors = kept_eigenvectors(row)
    if not len(vectors):
        return []
    # Torch takes seconds, which a report without eigenvectors does without.
    import torch

    from specray.masks import object_segments

    (found,) = object_segments(
        torch.from_numpy(vectors.reshape(1, len(vectors), -1)),
        (row["grid_h"], row["grid_w"]),
        [_geometry(row, configuration)],
        ObjectConfig(configuration["objects"]["connectivity"]),
    )
    return [segment_row(segment) for segment in found]


def _geometry(row: Row, configuration: Mapping[str, Any]) -> ImageGeometry:
    size, grid = (row["height"], row["width"]), (row["grid_h"], row["grid_w"])
    resized = resized_size(*size, configuration["images"]["image_size"])
    cell = configuration["spectral"]["downsample_factor"] or _patch_size(resized, grid)
    return ImageGeometry(*size, *resized, cell, *grid)


def _patch_size(resized: tuple[int, int], grid: tuple[int, int]) -> int:
    """The side of the patches of which an image has as many as its grid has cells."""
    (height, width), (rows, columns) = resized, grid
    fitting = [p for p in _PATCHES if (height // p, width // p) == grid]
    return fitting[0] if fitting else min(height // rows, width // columns)
