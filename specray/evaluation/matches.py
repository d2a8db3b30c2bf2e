"""Predictions matched to the ground truth, image after image, in columns.

A is the ranges of area (all, small, medium, large), T the thresholds of IoU (0.50, 0.55 to 0.95).
An image has at most 100 predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

AREAS: Final = 4
THRESHOLDS: Final = 10


@dataclass(frozen=True, eq=False)
class Matches:
    """Images with N predictions in total: 24 bytes for each of these."""

    predictions: Mapping[str, int]
    """Number of predictions of each image, by key, in the order of the rows."""
    scores: NDArray[np.float64]
    """(N,), descending within an image."""
    matched: NDArray[np.uint16]
    """(N, A): bit t says that the prediction found an instance at threshold t."""
    ignored: NDArray[np.uint16]
    """(N, A): bit t says that it counts neither as right nor as wrong."""
    instances: NDArray[np.int32]
    """(images, A) instances to find."""

    def __len__(self) -> int:
        return len(self.predictions)


@dataclass(frozen=True, eq=False)
class Ranked:
    """All predictions of a set, the best first; those of equal score by key, then as they came."""

    image: NDArray[np.int64]
    """(N,) number of the image in the order of the keys."""
    place: NDArray[np.int64]
    """(N,) number of the prediction among those of its image."""
    matched: NDArray[np.uint16]
    """(N, A)"""
    ignored: NDArray[np.uint16]
    """(N, A)"""
    instances: NDArray[np.int32]
    """(images, A)"""

    def best(self, limit: int) -> Ranked:
        """Without predictions beyond the first ones of their image."""
        kept = self.place < limit
        columns = {name: getattr(self, name)[kept] for name in ("image", "place")}
        bits = {name: getattr(self, name)[kept] for name in ("matched", "ignored")}
        return replace(self, **columns, **bits)


def matches_of(
    key: str,
    scores: Sequence[float],
    matched: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    instances: Sequence[int],
) -> Matches:
    """One image: (D,) descending scores, (A, T, D) matched and ignored, (A,) instances."""
    return Matches(
        {key: len(scores)},
        np.array(scores, dtype=np.float64),
        _bits(matched),
        _bits(ignored),
        np.array([instances], dtype=np.int32),
    )


def together(parts: Sequence[Matches]) -> Matches:
    """Matches of images of which none is in two parts, one after the other; of at least a part."""
    return Matches(
        {key: count for part in parts for key, count in part.predictions.items()},
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.matched for part in parts]),
        np.concatenate([part.ignored for part in parts]),
        np.concatenate([part.instances for part in parts]),
    )


def collected(parts: Iterable[Matches]) -> tuple[Matches, ...]:
    """The same images in few parts, each larger than the next: as many as a number has digits.

    Whoever adds up images one by one copies each of them a few times, not once for every other.
    """
    kept: list[Matches] = []
    for part in parts:
        kept.append(part)
        while len(kept) > 1 and len(kept[-2]) <= len(kept[-1]):
            last = kept.pop()
            kept.append(together([kept.pop(), last]))
    return tuple(kept)


def ranked(matches: Matches) -> Ranked:
    """Predictions in the order in which precision and recall take them."""
    counts = np.fromiter(matches.predictions.values(), dtype=np.int64, count=len(matches))
    images = keys_first(matches)
    number = np.empty(len(matches), dtype=np.int64)
    number[images] = np.arange(len(matches))
    image = np.repeat(number, counts)
    place = np.arange(image.size) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.lexsort([place, image, -matches.scores])
    return Ranked(
        image[order],
        place[order],
        matches.matched[order],
        matches.ignored[order],
        matches.instances[images],
    )


def keys_first(matches: Matches) -> NDArray[np.int64]:
    """(images,) which image is the first by its key, which the second, and so on."""
    keys = list(matches.predictions)
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def _bits(flags: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """(A, T, D) flags to (D, A), threshold t in bit t."""
    values = (1 << np.arange(flags.shape[1])).astype(np.uint16)
    bits: NDArray[np.uint16] = np.einsum("atd,t->da", flags.astype(np.uint16), values)
    return bits
