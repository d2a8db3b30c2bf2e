"""Predictions in the tables of specray segment, label and predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specray.datasets import stem
from specray.pipelines.derived import SegmentRun
from specray.pipelines.evaluate.predictions.base import (
    PatchFeatures,
    Piece,
    Predictable,
    Predictions,
)
from specray.pipelines.evaluate.predictions.segments import PredictedSegments
from specray.pipelines.labels.maps import geometry_of
from specray.sources import Store, read_manifest
from specray.tables.classes import known_classes
from specray.tables.features import ImageFeatures, features_of
from specray.tables.groups import ShardGroups
from specray.tables.rows import Row

SCORED: Final = {
    "objects": "object",
    "instances": "instance",
    "primaps": "primap",
    "superpixels": "superpixel",
}
"""Methods whose masks are those of objects, and their names in the rows."""

_COLUMNS: Final = (
    *("key", "width", "height", "error"),
    *(f"segments.list.element.{name}" for name in ("method", "index", "score", "bbox", "rle")),
)


@dataclass(frozen=True)
class RunPredictions:
    """The rows of a finished run.

    Parameters
    ----------
    run
        The run.
    method
        Whose masks are scored instead of those of objects and of instances; None: those.
    features
        Whether to read features, if they were kept.
    """

    run: SegmentRun
    method: str | None
    features: bool = True

    @property
    def uri(self) -> str:
        """Of the run."""
        return self.run.store.uri

    @property
    def identity(self) -> list[Any]:
        """What decided its rows, and of which images they are."""
        return [self.run.record["fingerprint"], self.run.manifest, self.method]

    @property
    def kinds(self) -> frozenset[Predictable]:
        """What its methods found."""
        if self._labelled:
            return frozenset({"classes"})
        found: set[Predictable] = set()
        if self._objects in self._methods:
            found |= {"boxes", "mask"}
        if self._found in self._methods:
            found |= {"instances"}
        if "features" in self.run.configuration["keep"]:
            found |= {"features"}
        return frozenset(found)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes of a label or predict run, by rising id."""
        if not self._labelled:
            return ()
        known = {each["id"]: each["name"] for each in known_classes(self.run.record)}
        return tuple(known[i] or str(i) for i in sorted(known))

    @property
    def masks(self) -> bool:
        """All segments have."""
        return True

    @cached_property
    def listed(self) -> list[list[str]]:
        """Keys of the images of every shard."""
        manifest = read_manifest(self.run.store, self.run.manifest)
        return [rows["key"].to_pylist() for rows in manifest]

    def pieces(self, stems: frozenset[str]) -> Iterator[tuple[list[str], Piece]]:
        """The shards."""
        for shard, keys in zip(self.run.shards, self.listed, strict=True):
            known = [key for key in keys if stem(key) in stems]
            if known:
                yield [stem(key) for key in known], self._piece(shard.name, frozenset(known))

    def unknown(self, stems: frozenset[str]) -> int:
        """Images of the run that are not among `stems`."""
        return sum(stem(key) not in stems for keys in self.listed for key in keys)

    def _piece(self, shard: str, keys: frozenset[str]) -> ShardPiece:
        places = {}
        if self._labelled:
            ids = sorted(each["id"] for each in known_classes(self.run.record))
            places = {number: place for place, number in enumerate(ids)}
        names = SCORED.get(self._objects, ""), SCORED.get(self._found, "")
        return ShardPiece(self.run.store, shard, keys, *names, places, self._grid)

    @property
    def _grid(self) -> _Grid | None:
        """What rows tell of their patches; a label table does not know."""
        if self._labelled:
            return None
        size = self.run.configuration["images"]["image_size"]
        return _Grid(self.run.record["cell"], size, self.features and "features" in self.kinds)

    @property
    def _labelled(self) -> bool:
        return bool(self.run.record["job"] != "segment")

    @property
    def _methods(self) -> Sequence[str]:
        found: Sequence[str] = self.run.configuration["methods"]
        return found

    @property
    def _objects(self) -> str:
        return self.method or "objects"

    @property
    def _found(self) -> str:
        return self.method or "instances"


def without_features(predictions: Predictions) -> Predictions:
    """The same for those who have no use for features, which are most of the bytes."""
    if isinstance(predictions, RunPredictions):
        return replace(predictions, features=False)
    return predictions


class _Grid(NamedTuple):
    """What is to be known of the patches of a run."""

    cell: int
    image_size: int | None
    features: bool
    """Whether these are read."""


@dataclass(frozen=True)
class ShardPiece:
    """Some rows of a shard."""

    store: Store
    shard: str
    keys: frozenset[str]
    objects: str
    found: str
    places: Mapping[int, int]
    on_grid: _Grid | None
    """Of the patches, if rows tell of them."""

    def read(self) -> Iterator[tuple[str, PredictedSegments | None]]:
        """A group of rows at a time."""
        groups = ShardGroups(self.store, self.shard)
        for group in range(len(groups.rows)):
            rows = groups.read(group, self._columns)
            kept = [None] * rows.num_rows if not self._has_features else features_of(rows)
            there = [name for name in rows.column_names if name != "features"]
            for row, own in zip(rows.select(there).to_pylist(), kept, strict=True):
                if row["key"] in self.keys:
                    yield stem(row["key"]), self._of(row, own)

    def _of(self, row: Row, own: ImageFeatures | None) -> PredictedSegments | None:
        if row["error"] is not None:
            return None
        features = None
        if self.on_grid is not None and own is not None:
            geometry = geometry_of(row, self.on_grid.cell, self.on_grid.image_size)
            features = PatchFeatures(_unit(own.image), geometry)
        segments = row["segments"] or []
        return PredictedSegments(
            size=(row["height"], row["width"]),
            objects=[each for each in segments if each["method"] == self.objects],
            found=[each for each in segments if each["method"] == self.found],
            of_classes=[each for each in segments if each["method"] == "class"],
            places=self.places,
            grid=(row["grid_h"], row["grid_w"]) if self.on_grid else None,
            own=features,
        )

    @property
    def _columns(self) -> tuple[str, ...]:
        if self.on_grid is None:
            return _COLUMNS
        more = ("features", "feature_scale") if self.on_grid.features else ()
        return (*_COLUMNS, "grid_h", "grid_w", *more)

    @property
    def _has_features(self) -> bool:
        return self.on_grid is not None and self.on_grid.features


def _unit(features: NDArray[np.float16]) -> NDArray[np.float32]:
    """Of unit length, so that what the largest is does not matter."""
    found = features.astype(np.float32)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (found / np.where(length > 0, length, 1)).astype(np.float32)
    return unit
