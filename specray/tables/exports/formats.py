"""Which formats there are."""

from __future__ import annotations

from typing import Final, Literal

from specray.sources import Store
from specray.tables.exports.annotations import CATEGORIES, Category
from specray.tables.exports.coco import Coco
from specray.tables.exports.flat import Flat
from specray.tables.exports.huggingface import HuggingFace
from specray.tables.exports.ids import Ids
from specray.tables.exports.names import Names
from specray.tables.exports.output import Format
from specray.tables.exports.panoptic import Panoptic
from specray.tables.exports.voc import Voc
from specray.tables.exports.yolo import Yolo

FormatName = Literal["coco", "panoptic", "voc", "ids", "parquet", "hf", "yolo"]

NAMED: Final = frozenset({"panoptic", "voc", "ids", "yolo"})
"""Formats with files that are called like the images."""

HOLDS_ALL_METHODS: Final = frozenset({"parquet"})
"""Formats in which masks of several methods can stand side by side."""


def build_format(name: FormatName, method: str | None, names: Names, photographs: Store) -> Format:
    """A format by its name.

    Parameters
    ----------
    name
        Of the format.
    method
        Of the ``segments`` column; None for those that hold all.
    names
        Of the files of images.
    photographs
        Where these are.
    """
    categories: tuple[Category, ...] = CATEGORIES[method] if method else ()
    match name:
        case "coco":
            return Coco(categories)
        case "panoptic":
            return Panoptic(categories, names)
        case "voc":
            return Voc(categories, names)
        case "ids":
            return Ids(names)
        case "parquet":
            return Flat()
        case "hf":
            return HuggingFace(categories, photographs)
        case "yolo":
            return Yolo(categories, names)
