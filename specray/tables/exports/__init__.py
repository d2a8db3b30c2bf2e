"""Exports: the masks of an output in the formats that other tools read.

A format is a pure function of annotated images (`Format`); `specray.pipelines.export` runs it.
"""

from specray.tables.exports.annotations import (
    AnnotatedImage,
    Annotation,
    Skipped,
    annotated_images,
    count_segments,
)
from specray.tables.exports.categories import (
    CATEGORIES,
    CLASS,
    Category,
    class_category,
    segment_category,
)
from specray.tables.exports.documents import assemble
from specray.tables.exports.formats import (
    HOLDS_ALL_METHODS,
    NAMED,
    FormatName,
    build_format,
    check_labels,
)
from specray.tables.exports.names import Names, StemCounter
from specray.tables.exports.output import OWNED, RECEIPT, SKIPPED, File, Format, Piece, Place
from specray.tables.exports.parts import Slice, plan_parts

__all__ = [
    "CATEGORIES",
    "CLASS",
    "HOLDS_ALL_METHODS",
    "NAMED",
    "OWNED",
    "RECEIPT",
    "SKIPPED",
    "AnnotatedImage",
    "Annotation",
    "Category",
    "File",
    "Format",
    "FormatName",
    "Names",
    "Piece",
    "Place",
    "Skipped",
    "Slice",
    "StemCounter",
    "annotated_images",
    "assemble",
    "build_format",
    "check_labels",
    "class_category",
    "count_segments",
    "plan_parts",
    "segment_category",
]
