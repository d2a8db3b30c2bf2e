"""Predictions in folders of PNGs: a map per image, as most research code writes them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from specray.datasets import stem
from specray.errors import ImageError, UserError
from specray.pipelines.evaluate.predictions.base import (
    Piece,
    Predictable,
    Predicted,
    parts,
)
from specray.sources import Store

IMAGES_PER_PIECE: Final = 64


@dataclass(frozen=True)
class MapPredictions:
    """Masks (foreground bright) or maps of classes, named by the key with the suffix .png.

    Parameters
    ----------
    store
        The folder.
    classes
        Classes are 0 to N - 1, other numbers none; None: they are masks.
    """

    store: Store
    classes: int | None

    @property
    def uri(self) -> str:
        """Of the folder."""
        return self.store.uri

    @cached_property
    def files(self) -> dict[str, tuple[str, str | None]]:
        """Key and ETag by stem."""
        return {stem(each.key): (each.key, each.etag) for each in self.store.list((".png",))}

    @property
    def identity(self) -> list[Any]:
        """Of all the files."""
        listed = json.dumps(sorted(self.files.values()))
        return [hashlib.sha256(listed.encode()).hexdigest(), self.classes]

    @property
    def kinds(self) -> frozenset[Predictable]:
        """One of the two."""
        return frozenset({"classes"} if self.classes else {"mask", "boxes"})

    @property
    def names(self) -> tuple[str, ...]:
        """Numbers."""
        return tuple(map(str, range(self.classes or 0)))

    @property
    def masks(self) -> bool:
        """There are no instances."""
        return False

    def pieces(self, stems: frozenset[str]) -> Iterator[tuple[list[str], Piece]]:
        """Some files at a time."""
        for part in parts(sorted(stems & self.files.keys()), IMAGES_PER_PIECE):
            names = {each: self.files[each][0] for each in part}
            yield list(part), MapPiece(self.store, names, self.classes)

    def unknown(self, stems: frozenset[str]) -> int:
        """Files that are not among `stems`."""
        return len(self.files.keys() - stems)


@dataclass(frozen=True)
class MapPiece:
    """Some files."""

    store: Store
    names: Mapping[str, str]
    classes: int | None

    def read(self) -> Iterator[tuple[str, PredictedMap]]:
        """One after the other."""
        for name, file in self.names.items():
            yield name, PredictedMap(read_picture(self.store, file), self.classes)


@dataclass(frozen=True)
class PredictedMap(Predicted):
    """A map of numbers."""

    numbers: NDArray[np.uint8]
    known: int | None

    def box(self) -> NDArray[np.float64]:
        """Extent of what is more than half bright."""
        bright = self.mask() > 127
        rows, columns = (np.flatnonzero(bright.any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return np.full(4, np.nan)
        return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)

    def mask(self) -> NDArray[np.uint8]:
        """Brightness; masks of 0 and 1 are masks, too."""
        return self.numbers * np.uint8(255) if self.numbers.max(initial=0) == 1 else self.numbers

    def classes(self) -> NDArray[np.int64]:
        """The numbers that are classes."""
        numbers = self.numbers.astype(np.int64)
        return np.where(numbers < (self.known or 0), numbers, -1)


def read_picture(store: Store, name: str, mode: str | None = None) -> NDArray[np.uint8]:
    """A PNG of predictions in some mode of Pillow; None: the numbers of a palette, or grey levels.

    Raises
    ------
    UserError
        It cannot be read, or is no PNG.
    """
    try:
        with Image.open(io.BytesIO(store.read(name).data), formats=["PNG"]) as picture:
            if mode is None:
                mode = "P" if picture.mode == "P" else "L"
            found: NDArray[np.uint8] = np.asarray(picture if mode == "P" else picture.convert(mode))
    except ImageError as error:
        raise UserError(f"cannot read {name} in {store.uri}: {error.message}") from None
    except (OSError, ValueError, Image.DecompressionBombError):
        raise UserError(f"{name} in {store.uri} is no PNG, or damaged") from None
    return found
