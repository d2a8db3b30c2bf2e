"""The pictures of the page: every photograph is read once for all that is shown of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from specray.sources import Store
from specray.tables.colours import class_colour
from specray.tables.report.classes.cards import ClassCard
from specray.tables.report.classes.crops import crop_name, draw_crop, scale_for
from specray.tables.report.classes.maps import MapCard, draw_map
from specray.tables.report.folder import DRAWERS
from specray.tables.report.photographs import read_photograph
from specray.tables.report.pictures import Pixels, blank, thumbnail_size, webp
from specray.tables.rows import Row


@dataclass
class _Wanted:
    """What is shown of an image."""

    crops: dict[str, tuple[Row, int]] = field(default_factory=dict)
    """By file name: the region and the id of its class."""
    row: Row | None = None
    """Of the gallery."""


@dataclass(frozen=True)
class Drawn:
    """All pictures of the page."""

    maps: list[MapCard]
    """One per row of the gallery."""
    files: dict[str, bytes]
    """By name."""
    photographs: int
    """That were wanted."""
    unavailable: dict[str, str]
    """Why a photograph could not be shown, by its key."""


def draw_all(cards: Sequence[ClassCard], gallery: Sequence[Row], source: Store | None) -> Drawn:
    """Draw the regions of classes and the images of the gallery.

    Parameters
    ----------
    cards
        Of the classes that have one.
    gallery
        Good rows.
    source
        Where the photographs are. Of what cannot be had, the masks are drawn on grey.
    """
    wanted: dict[str, _Wanted] = defaultdict(_Wanted)
    for card in cards:
        for region in (region for strip in card.strips.values() for region in strip):
            wanted[region["key"]].crops[crop_name(region, card.id)] = (region, card.id)
    for row in gallery:
        wanted[row["key"]].row = row
    with ThreadPoolExecutor(DRAWERS) as pool:
        drawn = dict(
            zip(wanted, pool.map(lambda w: _draw(w, source), wanted.values()), strict=True)
        )
    files = {name: data for _, found, _ in drawn.values() for name, data in found.items()}
    gone = {key: reason for key, (_, _, reason) in drawn.items() if reason is not None}
    maps = [card for card, _, _ in (drawn[row["key"]] for row in gallery) if card is not None]
    return Drawn(maps, files, len(wanted), gone)


def _draw(
    wanted: _Wanted, source: Store | None
) -> tuple[MapCard | None, dict[str, bytes], str | None]:
    """Of an image: its card in the gallery, its files, and why its photograph is not shown."""
    some: Row = wanted.row or next(iter(wanted.crops.values()))[0]
    height, width = some["height"], some["width"]
    small = thumbnail_size(height, width)
    scales = [scale_for(region) for region, _ in wanted.crops.values()]
    scale = max([small[0] / height, *scales] if wanted.row else scales)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    photograph, unavailable = read_photograph(some, source, size)
    files = {
        name: webp(draw_crop(photograph, region, class_colour(class_id)))
        for name, (region, class_id) in wanted.crops.items()
    }
    if wanted.row is None:
        return None, files, unavailable
    ground = blank(small) if photograph is None else _resized(photograph, small)
    card, pictures = draw_map(wanted.row, ground, unavailable)
    return card, files | pictures, unavailable


def _resized(photograph: Pixels, size: tuple[int, int]) -> Pixels:
    picture = Image.fromarray(photograph).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.asarray(picture)
