"""``images.jsonl``: which file belongs to which image, and what the numbers in it are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specray.tables.exports.annotations import AnnotatedImage, Skipped
from specray.tables.exports.coco import encode_json, short_score
from specray.tables.exports.output import Piece, lines

INDEX: Final = lines("images.jsonl", "images", splits=True)


def index_piece(image: AnnotatedImage, stem: str, labels: Sequence[int]) -> Piece:
    """The line of an image.

    Parameters
    ----------
    image
        The image.
    stem
        Path of its files, without folder and suffix.
    labels
        The number of each of its annotations in these files.
    """
    segments = [
        {
            "label": label,
            "category": annotation.category.name,
            "index": annotation.index,
            "score": short_score(annotation.score),
            "area": annotation.area,
        }
        for annotation, label in zip(image.annotations, labels, strict=True)
    ]
    entry = {
        "image_id": image.id,
        "key": image.key,
        "name": stem,
        "width": image.width,
        "height": image.height,
        "segments": segments,
    }
    return Piece("images", encode_json(entry))


def too_many(image: AnnotatedImage, labels: int, remedy: str) -> Skipped:
    """The refusal of an image with more segments than a format has labels."""
    count = len(image.annotations)
    message = f"{count} segments, up to label {labels} can be written; {remedy}"
    return Skipped(image.key, "too_many_segments", message, masks=count)
