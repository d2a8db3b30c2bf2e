"""Which formats there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from specray.errors import UserError
from specray.sources import Store
from specray.tables.classes import LabelClass
from specray.tables.exports.categories import CATEGORIES, CLASS, Category, class_category
from specray.tables.exports.coco import Coco
from specray.tables.exports.flat import Flat
from specray.tables.exports.huggingface import HuggingFace
from specray.tables.exports.ids import Ids
from specray.tables.exports.names import Names
from specray.tables.exports.output import Format
from specray.tables.exports.panoptic import Panoptic
from specray.tables.exports.png import MAX_GREY_LABEL, MAX_PALETTE_LABEL
from specray.tables.exports.voc import Voc
from specray.tables.exports.voc_classes import VocClasses
from specray.tables.exports.yolo import Yolo

FormatName = Literal["coco", "panoptic", "voc", "ids", "parquet", "hf", "yolo"]

NAMED: Final = frozenset({"panoptic", "voc", "ids", "yolo"})
"""Formats with files that are called like the images."""

HOLDS_ALL_METHODS: Final = frozenset({"parquet"})
"""Formats in which masks of several methods can stand side by side."""


_LARGEST_LABEL: Final = {
    "voc": MAX_PALETTE_LABEL,
    "ids": MAX_GREY_LABEL,
    "hf": MAX_GREY_LABEL,
}
"""Of formats whose pixels are the labels of classes."""


def check_labels(name: FormatName, classes: Sequence[LabelClass]) -> None:
    """Check that the pixels of a format can hold all classes.

    Raises
    ------
    UserError
        They cannot.
    """
    limit = _LARGEST_LABEL.get(name)
    largest = max((class_category(found).id for found in classes), default=0)
    if limit is not None and largest > limit:
        raise UserError(
            f"--format {name} holds classes up to {limit - 1}, and there is a class {largest - 1}; "
            "use --format coco, or fewer --classes"
        )


def build_format(
    name: FormatName,
    method: str | None,
    classes: Sequence[LabelClass],
    names: Names,
    photographs: Store,
) -> Format:
    """A format by its name.

    Parameters
    ----------
    name
        Of the format.
    method
        Of the ``segments`` column; None for those that hold all.
    classes
        Of a label run.
    names
        Of the files of images.
    photographs
        Where these are.
    """
    of_classes = method == CLASS
    categories: tuple[Category, ...] = ()
    if of_classes:
        categories = tuple(map(class_category, classes))
    elif method:
        categories = CATEGORIES[method]
    match name:
        case "coco":
            return Coco(categories)
        case "panoptic":
            return Panoptic(categories, names)
        case "voc":
            return VocClasses(categories, names) if of_classes else Voc(categories, names)
        case "ids":
            return Ids(names)
        case "parquet":
            return Flat()
        case "hf":
            return HuggingFace(categories, photographs, of_classes)
        case "yolo":
            return Yolo(categories, names)
