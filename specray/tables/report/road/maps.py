"""An image of the gallery: the photograph, its classes before and after."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from specray.sources import Store
from specray.tables.report.classes.maps import class_overlay
from specray.tables.report.photographs import read_photograph
from specray.tables.report.pictures import blank, segment_mask, thumbnail_size, webp
from specray.tables.rows import Row


@dataclass(frozen=True)
class PairCard:
    """The text of an image, and the names of its pictures."""

    key: str
    width: int
    """Pixels of a picture."""
    height: int
    photograph: str | None
    before: str
    after: str | None
    """None where nothing has come after."""
    kept: float
    """Share of the pixels that keep their class."""
    shares: list[tuple[int, float]]
    """Ids of the classes after, and their shares of the pixels, the largest first."""
    unavailable: str | None
    """Why the photograph is not shown."""


def draw_pair(
    before: Row, after: Row, source: Store, *, changed: bool
) -> tuple[PairCard, dict[str, bytes]]:
    """The card of an image and its files by name.

    Parameters
    ----------
    before, after
        Its rows in two tables of labels.
    source
        Where its photograph is.
    changed
        Whether there is anything after to show.
    """
    size = thumbnail_size(before["height"], before["width"])
    photograph, unavailable = read_photograph(before, source, size)
    ground = blank(size) if photograph is None else photograph
    # A name made of a digest says nothing of the key, which may hold any character.
    stem = hashlib.sha256(before["key"].encode()).hexdigest()[:20]
    files = {f"{stem}-before.webp": webp(class_overlay(ground, before["segments"]))}
    if changed:
        files[f"{stem}-after.webp"] = webp(class_overlay(ground, after["segments"]))
    if photograph is not None:
        files[f"{stem}-photograph.webp"] = webp(ground)
    pixels = after["width"] * after["height"]
    shares = [(segment["index"], segment["area"] / pixels) for segment in after["segments"]]
    card = PairCard(
        key=before["key"],
        width=size[1],
        height=size[0],
        photograph=None if photograph is None else f"{stem}-photograph.webp",
        before=f"{stem}-before.webp",
        after=f"{stem}-after.webp" if changed else None,
        kept=_kept(before, after, size),
        shares=sorted(shares, key=lambda share: (-share[1], share[0])),
        unavailable=unavailable,
    )
    return card, files


def _kept(before: Row, after: Row, size: tuple[int, int]) -> float:
    maps = []
    for row in (before, after):
        classes = np.full(size, -1)
        for segment in row["segments"]:
            classes[segment_mask(segment, size)] = segment["index"]
        maps.append(classes)
    return float((maps[0] == maps[1]).mean())
