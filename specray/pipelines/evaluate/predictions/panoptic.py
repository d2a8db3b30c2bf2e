"""Predictions in COCO's panoptic format: what specray export --format panoptic writes, too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from specray.datasets import stem
from specray.errors import ImageError, UserError
from specray.pipelines.evaluate.predictions.base import (
    PanopticMap,
    Piece,
    Predictable,
    Predicted,
    parts,
)
from specray.pipelines.evaluate.predictions.pictures import IMAGES_PER_PIECE, read_picture
from specray.sources import Store

PANOPTIC: Final = "panoptic.json"
"""Beside the folder of PNGs of the same name."""


@dataclass(frozen=True)
class PanopticPredictions:
    """``panoptic.json`` and a folder of PNGs of the same name, in COCO's format.

    Parameters
    ----------
    store
        Where they are.
    """

    store: Store

    @property
    def uri(self) -> str:
        """Of the folder."""
        return self.store.uri

    @cached_property
    def _read(self) -> tuple[str, dict[str, Any]]:
        try:
            data = self.store.read(PANOPTIC).data
            tree = json.loads(data)
            tree["annotations"], tree["categories"], tree["images"]
        except ImageError as error:
            raise UserError(f"cannot read {PANOPTIC} in {self.uri}: {error.message}") from None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{PANOPTIC} in {self.uri} is no panoptic JSON of COCO") from None
        return hashlib.sha256(data).hexdigest(), tree

    @property
    def identity(self) -> str:
        """Digest of the JSON, which names the PNGs."""
        return self._read[0]

    @property
    def kinds(self) -> frozenset[Predictable]:
        """Segments and their classes."""
        return frozenset({"panoptic", "classes"})

    @property
    def names(self) -> tuple[str, ...]:
        """Of the categories, by rising id."""
        return tuple(each["name"] for each in self._categories)

    @property
    def _categories(self) -> Sequence[Mapping[str, Any]]:
        return sorted(self._read[1]["categories"], key=lambda each: each["id"])

    @cached_property
    def _annotations(self) -> dict[str, Mapping[str, Any]]:
        tree = self._read[1]
        names = {each["id"]: stem(each["file_name"]) for each in tree["images"]}
        return {names[each["image_id"]]: each for each in tree["annotations"]}

    @property
    def masks(self) -> bool:
        """There are no instances."""
        return False

    def pieces(self, stems: frozenset[str]) -> Iterator[tuple[list[str], Piece]]:
        """Some files at a time."""
        places = {each["id"]: place for place, each in enumerate(self._categories)}
        for part in parts(sorted(stems & self._annotations.keys()), IMAGES_PER_PIECE):
            annotations = {each: self._annotations[each] for each in part}
            yield list(part), PanopticPiece(self.store, annotations, places)

    def unknown(self, stems: frozenset[str]) -> int:
        """Images that are not among `stems`."""
        return len(self._annotations.keys() - stems)


@dataclass(frozen=True)
class PanopticPiece:
    """Some images."""

    store: Store
    annotations: Mapping[str, Mapping[str, Any]]
    places: Mapping[int, int]

    def read(self) -> Iterator[tuple[str, PredictedPanoptic]]:
        """One after the other."""
        for name, annotation in self.annotations.items():
            colours = read_picture(self.store, f"panoptic/{annotation['file_name']}", "RGB")
            ids = colours.astype(np.int64) @ np.array([1, 256, 65536])
            categories = {
                each["id"]: self.places[each["category_id"]] for each in annotation["segments_info"]
            }
            yield name, PredictedPanoptic(PanopticMap(ids, categories))


@dataclass(frozen=True)
class PredictedPanoptic(Predicted):
    """A panoptic map."""

    found: PanopticMap

    def classes(self) -> NDArray[np.int64]:
        """The categories of the segments."""
        classes = np.full(self.found.ids.shape, -1, np.int64)
        known, places = np.unique(self.found.ids, return_inverse=True)
        of = np.array([self.found.categories.get(i, -1) for i in known.tolist()], np.int64)
        classes[:] = of[places.reshape(classes.shape)]
        return classes

    def panoptic(self) -> PanopticMap:
        """As it is."""
        return self.found
