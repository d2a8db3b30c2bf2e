"""An image as the report of scores shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from specray.tables.report.pictures import Pixels, webp


@dataclass(frozen=True)
class Drawn:
    """The pictures of an image at thumbnail size; None is what is not there."""

    photograph: Pixels | None
    true: Pixels
    found: Pixels | None
    unavailable: str | None
    """Why the photograph is not shown."""


@dataclass(frozen=True)
class Case:
    """An image that was scored."""

    key: str
    figures: Mapping[str, float | None]
    """By name; the first is what it was chosen by."""
    failed: bool
    drawn: Drawn


@dataclass(frozen=True)
class CaseCard:
    """The text of a case and the names of its pictures."""

    key: str
    figures: Mapping[str, float | None]
    failed: bool
    width: int
    height: int
    photograph: str | None
    true: str
    found: str | None
    unavailable: str | None


def cards_of(task: str, cases: Sequence[Case]) -> tuple[list[CaseCard], dict[str, bytes]]:
    """Cards, and their files by name."""
    cards: list[CaseCard] = []
    files: dict[str, bytes] = {}
    for case in cases:
        # A name made of a digest says nothing of the key, which may hold any character.
        stem = hashlib.sha256(f"{task}\0{case.key}".encode()).hexdigest()[:20]
        drawn = case.drawn
        pictures = {"photograph": drawn.photograph, "true": drawn.true, "found": drawn.found}
        names = {kind: f"{stem}-{kind}.webp" for kind, each in pictures.items() if each is not None}
        files |= {names[kind]: webp(each) for kind, each in pictures.items() if each is not None}
        height, width, _ = drawn.true.shape
        cards.append(
            CaseCard(
                key=case.key,
                figures=case.figures,
                failed=case.failed,
                width=width,
                height=height,
                photograph=names.get("photograph"),
                true=names["true"],
                found=names.get("found"),
                unavailable=drawn.unavailable,
            )
        )
    return cards, files
