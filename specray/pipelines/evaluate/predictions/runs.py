"""Predictions in the tables of specray segment, label and predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from specray.datasets import stem
from specray.pipelines.derived import SegmentRun
from specray.pipelines.evaluate.predictions.base import Piece, Predictable
from specray.pipelines.evaluate.predictions.segments import PredictedSegments
from specray.sources import Store, read_manifest
from specray.tables.classes import known_classes
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
    """

    run: SegmentRun
    method: str | None

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
        return ShardPiece(self.run.store, shard, keys, *names, places, not self._labelled)

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


@dataclass(frozen=True)
class ShardPiece:
    """Some rows of a shard."""

    store: Store
    shard: str
    keys: frozenset[str]
    objects: str
    found: str
    places: Mapping[int, int]
    on_grid: bool
    """Whether rows tell their grid."""

    def read(self) -> Iterator[tuple[str, PredictedSegments | None]]:
        """A group of rows at a time."""
        groups = ShardGroups(self.store, self.shard)
        for group in range(len(groups.rows)):
            for row in groups.read(group, self._columns).to_pylist():
                if row["key"] in self.keys:
                    yield stem(row["key"]), self._of(row)

    def _of(self, row: Row) -> PredictedSegments | None:
        if row["error"] is not None:
            return None
        segments = row["segments"] or []
        return PredictedSegments(
            size=(row["height"], row["width"]),
            objects=[each for each in segments if each["method"] == self.objects],
            found=[each for each in segments if each["method"] == self.found],
            of_classes=[each for each in segments if each["method"] == "class"],
            places=self.places,
            grid=(row["grid_h"], row["grid_w"]) if self.on_grid else None,
        )

    @property
    def _columns(self) -> tuple[str, ...]:
        return (*_COLUMNS, "grid_h", "grid_w") if self.on_grid else _COLUMNS
