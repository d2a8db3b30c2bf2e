"""What the page says of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from specray.tables.colours import class_colour
from specray.tables.report.classes.gather import GatheredLabels
from specray.tables.rows import Row

CARDS: Final = 64
"""Classes that have a card, the largest; the others have a line in a table."""


@dataclass(frozen=True)
class ClassCard:
    """A class: its figures, and the regions to show of it."""

    id: int
    name: str
    colour: str
    """As CSS."""
    share: float
    """Of all pixels."""
    images: int
    regions: int
    """In this table, or class masks where single patches were labelled."""
    fitted: int | None
    """Points that the clustering was fitted to; None without a clustering, as the next two."""
    radius: float | None
    nearest: int | None
    """Id of the class whose centroid is nearest."""
    confidence: float
    """Median of the regions; NaN without any."""
    strips: dict[str, list[Row]]
    """Regions by what they are: ``medoid``, ``random``, ``surest``, ``doubtful``."""


def class_cards(found: GatheredLabels, clustering: Mapping[str, Any]) -> list[ClassCard]:
    """All classes, by falling share of the pixels.

    Parameters
    ----------
    found
        Sums over all rows.
    clustering
        Of the run record.
    """
    of_id = {one["id"]: one for one in clustering["classes"]}
    order = np.lexsort((found.ids, -found.area)).tolist()
    return [_card(found, position, of_id[int(found.ids[position])]) for position in order]


def class_name(one: Mapping[str, Any]) -> str:
    """Of a class of a run record: its name, or one made of its id.

    Examples
    --------
    >>> class_name({"id": 7, "name": None}), class_name({"id": 7, "name": "road"})
    ('class 7', 'road')
    """
    return one["name"] or f"class {one['id']}"


def css_colour(class_id: int) -> str:
    """The colour of a class, as CSS.

    Examples
    --------
    >>> css_colour(0)
    '#0096b4'
    """
    return "#{:02x}{:02x}{:02x}".format(*class_colour(class_id))


def _card(found: GatheredLabels, position: int, one: Mapping[str, Any]) -> ClassCard:
    medoid = found.medoids.get(position)
    return ClassCard(
        id=one["id"],
        name=class_name(one),
        colour=css_colour(one["id"]),
        share=int(found.area[position]) / max(1, found.pixels),
        images=int(found.holding[position]),
        regions=int(found.regions[position]),
        fitted=one["points"],
        radius=one["radius"],
        nearest=one["nearest"],
        confidence=found.confidences[position].quantile(0.5),
        strips={"medoid": [medoid] if medoid else []} | found.strips.of(position),
    )
