"""What is clustered: the features of segments or patches, out of rows of a segment table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specray.errors import UserError
from specray.pipelines.labels.config import POINTS, Source
from specray.tables.schema import MASKS

FEATURES = "segments.list.element.feature"


@dataclass(frozen=True)
class Points:
    """The points of some rows, row by row."""

    features: NDArray[np.float16]
    """(P, D)."""
    rows: NDArray[np.int64]
    """(P,) place of the row that a point is of, rising."""
    index: NDArray[np.int64]
    """(P,) of the segment within its method; of the patch, row-major."""
    segments: pa.StructArray | None
    """(P,) the segments themselves; None for patches."""

    def slice(self, start: int, end: int) -> Points:
        """Some of the points, which follow each other."""
        segments = None if self.segments is None else self.segments.slice(start, end - start)
        rows = self.rows[start:end]
        return Points(self.features[start:end], rows, self.index[start:end], segments)


def columns_of(source: Source) -> tuple[str, ...]:
    """Columns of the segment table that `points_of` needs."""
    if source == "patches":
        return ("key", "grid_h", "grid_w", "features")
    return ("key", *MASKS, FEATURES)


def points_of(rows: pa.Table, source: Source, foreground: bool = False) -> Points:
    """The points of rows of a segment table.

    Parameters
    ----------
    rows
        With the columns `columns_of`; those of errors have no points.
    source
        What is clustered.
    foreground
        Leave out what has index 0: the background of regions.

    Raises
    ------
    UserError
        Features of two lengths: of two backbones.
    """
    if source == "patches":
        return _patches(rows)
    segments = pc.list_flatten(rows["segments"]).combine_chunks()
    parents = pc.list_parent_indices(rows["segments"]).to_numpy().astype(np.int64)
    index = pc.struct_field(segments, "index")
    wanted = pc.equal(pc.struct_field(segments, "method"), POINTS[source])
    wanted = pc.and_(wanted, pc.is_valid(pc.struct_field(segments, "feature")))
    if foreground:
        wanted = pc.and_(wanted, pc.greater(index, 0))
    chosen = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
    kept = segments.take(pa.array(chosen))
    features = pc.struct_field(kept, "feature")
    lengths = pc.list_value_length(features).to_numpy()
    flat = pc.list_flatten(features).to_numpy()
    return Points(
        _matrix(flat, lengths),
        parents[chosen],
        index.to_numpy()[chosen].astype(np.int64),
        kept,
    )


def _patches(rows: pa.Table) -> Points:
    there = np.flatnonzero(rows["features"].is_valid().to_numpy())
    kept = rows.take(pa.array(there))
    counts = pc.multiply(kept["grid_h"], kept["grid_w"]).to_numpy().astype(np.int64)
    values = pc.list_value_length(kept["features"]).to_numpy()
    flat = pc.list_flatten(kept["features"]).combine_chunks().to_numpy()
    index = np.arange(counts.sum()) - (np.cumsum(counts) - counts).repeat(counts)
    lengths = (values // np.maximum(counts, 1)).repeat(counts)
    return Points(_matrix(flat, lengths), there.repeat(counts), index, None)


def _matrix(flat: NDArray[np.float16], lengths: NDArray[np.integer]) -> NDArray[np.float16]:
    """(P, D) rows of equal length."""
    if len(np.unique(lengths)) > 1:
        raise UserError(
            f"the segment run has features of {' and '.join(map(str, np.unique(lengths)))} "
            "channels; segment all images with one backbone"
        )
    return flat.reshape(len(lengths), -1) if len(lengths) else np.zeros((0, 0), np.float16)
