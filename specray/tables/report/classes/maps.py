"""An image of a label run as the report shows it: the photograph, and its classes in colour."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from specray.tables.colours import class_colour
from specray.tables.report.pictures import Pixels, mix, outline, segment_mask, subdue, webp
from specray.tables.rows import Row


@dataclass(frozen=True)
class MapCard:
    """The text of an image and the names of its pictures."""

    key: str
    width: int
    """Pixels of a picture."""
    height: int
    shares: list[tuple[int, float]]
    """Ids of the classes and their shares of the pixels, the largest first."""
    photograph: str | None
    """File name; None where the photograph cannot be shown."""
    map: str
    """File name."""
    unavailable: str | None
    """Why the photograph is not shown."""


def draw_map(row: Row, ground: Pixels, unavailable: str | None) -> tuple[MapCard, dict[str, bytes]]:
    """The card of a good row, and its files by name.

    Parameters
    ----------
    row
        Of the label schema.
    ground
        (h, w, 3) the photograph at thumbnail size, or grey.
    unavailable
        Why it is grey.
    """
    # A name made of a digest says nothing of the key, which may hold any character.
    stem = hashlib.sha256(row["key"].encode()).hexdigest()[:20]
    files = {f"{stem}-classes.webp": webp(class_overlay(ground, row["segments"]))}
    if unavailable is None:
        files[f"{stem}-photograph.webp"] = webp(ground)
    pixels = row["width"] * row["height"]
    shares = [(segment["index"], segment["area"] / pixels) for segment in row["segments"]]
    card = MapCard(
        key=row["key"],
        width=ground.shape[1],
        height=ground.shape[0],
        shares=sorted(shares, key=lambda share: (-share[1], share[0])),
        photograph=f"{stem}-photograph.webp" if unavailable is None else None,
        map=f"{stem}-classes.webp",
        unavailable=unavailable,
    )
    return card, files


def class_overlay(photograph: Pixels, segments: list[Row]) -> Pixels:
    """Every class in its colour; pixels of none subdued.

    Parameters
    ----------
    photograph
        (h, w, 3) thumbnail.
    segments
        Of method ``class``.
    """
    picture = subdue(photograph)
    grey = np.repeat(photograph.mean(axis=2, keepdims=True), 3, axis=2)
    for segment in segments:
        mask = segment_mask(segment, photograph.shape[:2])
        colour = class_colour(segment["index"])
        picture[mask] = mix(grey[mask], colour, 0.65)
        picture[outline(mask)] = colour
    return picture
