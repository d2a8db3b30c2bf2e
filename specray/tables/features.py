"""Kept features out of rows of a segment table, as arrays that share the memory of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

COLUMNS: Final = ("grid_h", "grid_w", "features", "feature_scale", "views")
"""Columns that `features_of` needs; without ``views`` there are the images alone."""

_HALF: Final = np.dtype("<f2")


def variant(view: int, mirrored: bool) -> int:
    """Number of what is seen of an image: view 0 is the image itself.

    Examples
    --------
    >>> [variant(view, mirrored) for view in (0, 1) for mirrored in (False, True)]
    [0, 1, 2, 3]
    """
    return 2 * view + mirrored


@dataclass(frozen=True)
class ImageFeatures:
    """What the backbone says of an image and of its variants, one after the other.

    ``features[i]`` is the (N, C) float16 of variant `i`, see `variant`; what the backbone said is
    ``scale`` times that. Nothing is copied; the arrays cannot be written.
    """

    grid: tuple[int, int]
    """(h, w) cells, ``N == h * w``; row-major."""
    scale: float
    image: NDArray[np.float16]
    """(N, C)."""
    others: NDArray[np.float16]
    """(V, N, C) of the mirror image, then of each view and of its mirror image."""

    def __len__(self) -> int:
        return 1 + len(self.others)

    def __getitem__(self, i: int) -> NDArray[np.float16]:
        if not 0 <= i < len(self):
            raise IndexError(f"variant {i} of {len(self)}")
        return self.others[i - 1] if i else self.image

    def stacked(self) -> NDArray[np.float16]:
        """(1 + V, N, C): a copy of all."""
        return np.concatenate([self.image[None], self.others])


def features_of(rows: pa.Table) -> list[ImageFeatures | None]:
    """The features of every row; None of an error.

    Parameters
    ----------
    rows
        With the columns `COLUMNS`; grids may differ.
    """
    others = rows["views"] if "views" in rows.column_names else [None] * rows.num_rows
    columns = [rows[name] for name in ("grid_h", "grid_w", "feature_scale", "features")]
    return [_of_row(*values) for values in zip(*columns, others, strict=True)]


def _of_row(height: Any, width: Any, scale: Any, features: Any, views: Any) -> ImageFeatures | None:
    if not features.is_valid:
        return None
    grid = (height.as_py(), width.as_py())
    image = features.values.to_numpy().reshape(grid[0] * grid[1], -1)
    there = views is not None and views.is_valid
    data = memoryview(views.as_buffer()).toreadonly() if there else b""
    flat = np.frombuffer(data, _HALF)
    return ImageFeatures(grid, scale.as_py(), image, flat.reshape(-1, *image.shape))
