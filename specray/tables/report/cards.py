"""An image of the output as the report shows it: its figures and its pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specray.errors import ImageError
from specray.sources import Store
from specray.tables.report.cutouts import Cutouts
from specray.tables.report.instances import instance_overlay
from specray.tables.report.photographs import read_photograph
from specray.tables.report.pictures import (
    Pixels,
    blank,
    cutout_thumbnail,
    heat_map,
    object_overlay,
    png,
    region_overlay,
    thumbnail_size,
    webp,
)
from specray.tables.report.raw import kept_eigenvectors, raw_objects
from specray.tables.rows import Row
from specray.tables.run import refine_method


@dataclass(frozen=True)
class Card:
    """The text of an image and the names of its pictures; None where there is none."""

    key: str
    width: int
    """Pixels of the original."""
    height: int
    thumbnail_width: int
    thumbnail_height: int
    grid_w: int
    grid_h: int
    score: float | None
    """Of object 0."""
    objects: int
    regions: int
    instances: int
    superpixels: int
    primaps: int
    fiedler: float | None
    """lambda_1, the second smallest eigenvalue."""
    unavailable: str | None
    """Why the photograph is not shown."""
    uncut: str | None
    """Why the cut-out is not shown, where others are."""
    pictures: dict[str, str]
    """File names of what there is: ``photograph``, ``patches`` (the object before it was refined),
    ``object``, ``regions``, ``cutout``, ``instances``, ``primaps``."""
    eigenvectors: list[str]
    """File names of the maps of x_1, x_2, ..."""


@dataclass(frozen=True)
class Drawing:
    """A card and its files, by name."""

    card: Card
    files: dict[str, bytes]


def draw_card(
    row: Row, source: Store | None, configuration: Mapping[str, Any], cutouts: Cutouts | None
) -> Drawing:
    """Draw everything there is to show of a good row.

    Parameters
    ----------
    row
        Of the segment schema, without error.
    source
        Where the photograph is. If it cannot be had, masks are drawn on grey.
    configuration
        Of the run.
    cutouts
        Of the run, if an edit job made any.
    """
    photograph, unavailable = read_photograph(
        row, source, thumbnail_size(row["height"], row["width"])
    )
    ground = _ground(row, photograph)
    objects, regions, instances, primaps = (
        _segments(row, method) for method in ("object", "region", "instance", "primap")
    )
    pictures: dict[str, bytes] = {}
    if photograph is not None:
        pictures["photograph"] = webp(photograph)
    if objects:
        pictures["object"] = webp(object_overlay(ground, objects, row["width"]))
    if objects and refine_method(configuration) != "none":
        raw = raw_objects(row, configuration)
        if raw:
            pictures["patches"] = webp(object_overlay(ground, raw, row["width"]))
    if regions:
        pictures["regions"] = webp(region_overlay(ground, regions))
    if instances:
        pictures["instances"] = webp(instance_overlay(ground, instances))
    if primaps:
        pictures["primaps"] = webp(instance_overlay(ground, primaps))
    cutout, uncut = _cutout(row, cutouts)
    if cutout is not None:
        pictures["cutout"] = webp(cutout)
    maps = [png(heat_map(vector)) for vector in kept_eigenvectors(row)[1:]]  # x_0 is trivial
    return _drawing(row, unavailable, uncut, pictures, maps)


def draw_doubtful(row: Row, source: Store | None) -> Drawing:
    """Draw the object of a good row alone; see `draw_card`."""
    photograph, unavailable = read_photograph(
        row, source, thumbnail_size(row["height"], row["width"])
    )
    objects = _segments(row, "object")
    picture = object_overlay(_ground(row, photograph), objects, row["width"])
    return _drawing(row, unavailable, None, {"object": webp(picture)}, [])


def _photograph(row: Row, source: Store | None) -> tuple[Pixels | None, str | None]:
    """The photograph at thumbnail size, or why there is none."""
    return read_photograph(row, source, thumbnail_size(row["height"], row["width"]))


def _ground(row: Row, photograph: Pixels | None) -> Pixels:
    """What the masks are drawn on."""
    if photograph is None:
        return blank(thumbnail_size(row["height"], row["width"]))
    return photograph


def _cutout(row: Row, cutouts: Cutouts | None) -> tuple[Pixels | None, str | None]:
    """The cut-out at thumbnail size, or why there is none; neither where nothing was cut out."""
    if cutouts is None:
        return None, None
    edit = cutouts.rows.get(row["key"])
    if edit is None or (edit["size"], edit["etag"]) != (row["size"], row["etag"]):
        return None, "the image is new, or has changed, since specray edit ran"
    if edit["error"] is not None:
        return None, f"{edit['error']['code']}: {edit['error']['message']}"
    try:
        data = cutouts.store.read(edit["file"]).data
        return cutout_thumbnail(data, row["height"], row["width"]), None
    except ImageError as error:
        return None, f"{edit['file']}: {error.message}"


def _segments(row: Row, method: str) -> list[Row]:
    return [segment for segment in row["segments"] if segment["method"] == method]


def _drawing(
    row: Row,
    unavailable: str | None,
    uncut: str | None,
    pictures: dict[str, bytes],
    maps: list[bytes],
) -> Drawing:
    # A name made of a digest says nothing of the key, which may hold any character.
    stem = hashlib.sha256(row["key"].encode()).hexdigest()[:20]
    names = {kind: f"{stem}-{kind}.webp" for kind in pictures}
    map_names = [f"{stem}-x{k}.png" for k in range(1, len(maps) + 1)]
    files = dict(zip([*names.values(), *map_names], [*pictures.values(), *maps], strict=True))
    height, width = thumbnail_size(row["height"], row["width"])
    objects = _segments(row, "object")
    values = row["eigenvalues"] or []
    card = Card(
        key=row["key"],
        width=row["width"],
        height=row["height"],
        thumbnail_width=width,
        thumbnail_height=height,
        grid_w=row["grid_w"],
        grid_h=row["grid_h"],
        score=next((segment["score"] for segment in objects if segment["index"] == 0), None),
        objects=len(objects),
        regions=len(_segments(row, "region")),
        instances=len(_segments(row, "instance")),
        superpixels=len(_segments(row, "superpixel")),
        primaps=len(_segments(row, "primap")),
        fiedler=values[1] if len(values) > 1 else None,
        unavailable=unavailable,
        uncut=uncut,
        pictures=names,
        eigenvectors=map_names,
    )
    return Drawing(card, files)
