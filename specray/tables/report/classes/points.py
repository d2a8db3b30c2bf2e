"""The labelled regions of rows as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from specray.errors import UserError
from specray.seeds import derive_seed, mixed

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Masks:
    """The class masks of some rows, a value per mask in each array."""

    row: Ints
    position: Ints
    """Of the class among the classes of the run."""
    area: Ints
    values: pa.Array
    """The segments themselves."""

    def of(self, row: Ints, position: Ints) -> pa.Array:
        """The masks of classes in rows, null where the image has none of the class."""
        if not len(self.row):
            return pa.nulls(len(row), self.values.type)
        many = 1 + max(position.max(initial=0), self.position.max())
        codes, wanted = self.row * many + self.position, row * many + position
        order = np.argsort(codes)
        found = order[np.searchsorted(codes[order], wanted).clip(max=len(codes) - 1)]
        return self.values.take(pa.array(found, mask=codes[found] != wanted))


@dataclass(frozen=True)
class Points:
    """The labelled regions of some rows, a value per region in each array."""

    row: Ints
    position: Ints
    """Of the class among the classes of the run."""
    index: Ints
    confidence: NDArray[np.float64]
    boxes: pa.Array
    draw: NDArray[np.uint64]
    """A random number that everybody draws alike."""
    are_masks: bool
    """Single patches were labelled: the class masks stand for them."""


def masks_of(rows: pa.Table, ids: Ints) -> Masks:
    """The class masks of good rows.

    Parameters
    ----------
    rows
        Of the label schema, without errors.
    ids
        (K,) of the classes of the run, rising.
    """
    values = _flat(rows["segments"])
    position = _positions(_ints(values, "index"), ids)
    return Masks(_parents(rows["segments"]), position, _ints(values, "area"), values)


def points_of(rows: pa.Table, masks: Masks, ids: Ints) -> Points:
    """The regions that were labelled; where single patches were, the class masks stand for them.

    Parameters
    ----------
    rows, ids
        As in `masks_of`.
    masks
        What it gives.
    """
    are_masks = rows["points"].null_count == rows.num_rows
    if are_masks:
        values, row, position, surety = masks.values, masks.row, masks.position, "score"
    else:
        values, row, surety = _flat(rows["points"]), _parents(rows["points"]), "confidence"
        has_class = _ints(values, "class") >= 0  # a background that is kept apart has none
        values, row = values.filter(pa.array(has_class)), row[has_class]
        position = _positions(_ints(values, "class"), ids)
    index = _ints(values, "index")
    confidence = np.asarray(pc.struct_field(values, surety), dtype=np.float64)
    seeds = np.array([derive_seed(0, key) for key in rows["key"].to_pylist()], dtype=np.uint64)
    draw = mixed(seeds[row], index)
    boxes = pc.struct_field(values, "bbox")
    return Points(row, position, index, confidence, boxes, draw, are_masks)


def _positions(found: Ints, ids: Ints) -> Ints:
    places = np.searchsorted(ids, found).clip(max=len(ids) - 1)
    unknown = found[ids[places] != found]
    if len(unknown):
        raise UserError(f"the table has class {unknown[0]}, of which its run.json knows nothing")
    return places


def _flat(lists: pa.ChunkedArray) -> pa.Array:
    return pa.array(pc.list_flatten(lists).combine_chunks())


def _parents(lists: pa.ChunkedArray) -> Ints:
    return np.asarray(pc.list_parent_indices(lists), dtype=np.int64)


def _ints(values: Any, name: str) -> Ints:
    return np.asarray(pc.struct_field(values, name), dtype=np.int64)
