"""What formats call the kinds of segments, and the classes of a label run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from specray.tables.classes import LabelClass


@dataclass(frozen=True)
class Category:
    """What a format calls the kind of a segment."""

    id: int
    """From 1 up, as COCO counts."""
    name: str
    is_thing: bool = True
    """False where there is at most one in an image: what COCO panoptic calls stuff."""


OBJECT: Final = Category(1, "object")
BACKGROUND: Final = Category(1, "background", is_thing=False)
REGION: Final = Category(2, "region")
INSTANCE: Final = Category(1, "instance")
SUPERPIXEL: Final = Category(1, "superpixel")
PRIMAP: Final = Category(1, "primap")

CATEGORIES: Final = {
    "object": (OBJECT,),
    "region": (BACKGROUND, REGION),
    "instance": (INSTANCE,),
    "superpixel": (SUPERPIXEL,),
    "primap": (PRIMAP,),
}
"""Of each method of the segment table. An index is a rank within its image and means nothing
across images, except region 0, the background; so it makes no category."""

CLASS: Final = "class"
"""The method of the label table, where an index is a class and does."""


def segment_category(method: str, index: int) -> Category:
    """Of `CATEGORIES`, that of a segment."""
    return CATEGORIES[method][-1 if index else 0]


def class_category(found: LabelClass) -> Category:
    """That of a class: its id + 1, because 0 is no class."""
    return Category(found.id + 1, found.name, is_thing=False)


def class_categories(classes: Iterable[LabelClass]) -> dict[int, Category]:
    """The category of every id of the label table."""
    return {member: class_category(each) for each in classes for member in each.members}
