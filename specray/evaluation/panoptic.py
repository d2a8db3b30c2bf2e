"""Panoptic quality, of clusters too: they are matched to classes after everything is added up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from specray.evaluation.means import FIXED, fixed
from specray.evaluation.semantic import Confusion, Matching
from specray.evaluation.sizes import check_shapes

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class PanopticScore:
    """Of a class, or their mean; in [0, 1]."""

    pq: float
    """Panoptic quality: `sq` times `rq`. NaN where nothing is true or predicted."""
    sq: float
    """Segmentation quality: mean IoU of the pairs; 0 if there is none."""
    rq: float
    """Recognition quality: F1 of the segments."""


@dataclass(frozen=True)
class PanopticScores:
    """Means over classes that are true or predicted anywhere, and each class."""

    all: PanopticScore
    things: PanopticScore | None
    stuff: PanopticScore | None
    """As `things`, None if nobody said which classes are things."""
    classes: tuple[PanopticScore, ...]
    """(C,), NaN for those that are left out of the means."""


@dataclass(frozen=True, eq=False)
class PanopticSums:
    """What panoptic quality needs to know of images, for K predicted categories and C classes.

    States of disjoint sets of images add up to the state of their union, to the bit. A pair is a
    predicted and a true segment of IoU > 0.5, whatever their categories: each segment is in one at
    most.
    """

    pixels: Confusion
    """(K + 1, C) pixels, for the matching; in the last row those without a prediction."""
    pairs: Counts
    """(K, C)"""
    iou: Counts
    """(K, C) sums over pairs, in fixed point."""
    predicted: Counts
    """(K,) segments."""
    true: Counts
    """(C,) segments, crowds left out."""
    ignorable: Counts
    """(K, C) predicted segments that are not wrong as segments of the class: more than half of them
    lies in void or in crowds of the class, and they are in no pair with the class."""

    def __add__(self, other: PanopticSums) -> PanopticSums:
        if self.pairs.shape != other.pairs.shape:
            raise ValueError(f"categories: {self.pairs.shape}, {other.pairs.shape}")
        names = [each.name for each in fields(self)]
        return PanopticSums(*(getattr(self, name) + getattr(other, name) for name in names))

    def finish(self, matching: Matching, things: Flags | None = None) -> PanopticScores:
        """Panoptic quality under a matching of categories to classes.

        Parameters
        ----------
        matching
            (K,) class of each category, -1 for none: ``hungarian_by_pixels(sums.pixels)``, or
            ``np.arange(C)`` where categories are classes. Segments of a category without a class
            are left out; the true ones that they cover are missed.
        things
            (C,) bool, which classes are things, for means of both kinds.

        Raises
        ------
        ValueError
            If there are not K classes, or one is out of range.
        """
        k, c = self.pairs.shape
        if len(matching) != k or not ((matching >= -1) & (matching < c)).all():
            raise ValueError(f"{k} categories to {c} classes: {matching=}")
        assigned = matching[:, None] == np.arange(c)
        right = (self.pairs * assigned).sum(axis=0)
        wrong = ((self.predicted[:, None] - self.pairs - self.ignorable) * assigned).sum(axis=0)
        missed = self.true - right
        iou = (self.iou * assigned).sum(axis=0) / FIXED
        # right + wrong / 2 + missed / 2, twice, in integers
        weight = 2 * right + wrong + missed
        sq, rq = iou / np.maximum(right, 1), 2 * right / np.maximum(weight, 1)
        figures = np.stack([2 * iou / np.maximum(weight, 1), sq, rq])
        figures[:, weight == 0] = np.nan
        return PanopticScores(
            _mean(figures),
            None if things is None else _mean(figures[:, things]),
            None if things is None else _mean(figures[:, ~things]),
            tuple(PanopticScore(*each) for each in figures.T.tolist()),
        )


def panoptic(
    predicted: NDArray[np.integer],
    categories: Mapping[int, int],
    truth: NDArray[np.integer],
    classes: Mapping[int, int],
    sizes: tuple[int, int],
    crowds: Collection[int] = (),
) -> PanopticSums:
    """State of one image.

    Segments are found by their pixels: an id that no pixel has is no segment. With both mappings to
    0 and ``sizes=(1, 1)`` the quality is class agnostic.

    Parameters
    ----------
    predicted
        (H, W) ids of segments.
    categories
        Of the predicted segments, from 0 up to K. Pixels of other ids have no prediction.
    truth
        (H, W) ids of segments.
    classes
        Of the true segments, from 0 up to C. Pixels of other ids are void: in no union, and what
        mostly lies in them is neither right nor wrong.
    sizes
        K, C.
    crowds
        Ids of true segments that stand for many: in no pair, never missed, and as void to
        predictions of their class.

    Raises
    ------
    ValueError
        If the sizes of the maps differ, or a category or class is out of range.

    References
    ----------
    A. Kirillov et al., Panoptic segmentation, CVPR 2019.

    Examples
    --------
    >>> truth, found = np.array([[1, 1, 1, 2, 2]]), np.array([[7, 7, 8, 8, 8]])
    >>> sums = panoptic(found, {7: 0, 8: 1}, truth, {1: 0, 2: 1}, sizes=(2, 2))
    >>> sums.finish(np.array([0, 1])).classes[0]
    PanopticScore(pq=0.6666666667442769, sq=0.6666666667442769, rq=1.0)
    """
    check_shapes(predicted, truth)
    k, c = sizes
    rows, columns, both = _overlaps(predicted, truth)
    category = _categories(rows, categories, k)
    kind = _categories(columns, classes, c)  # of each column, -1 for void
    crowd = np.isin(columns, list(crowds)) & (kind >= 0)

    of_kind = (kind[:, None] == np.arange(c)).astype(np.int64)  # (columns, C)
    of_category = (category[:, None] == np.arange(k)).astype(np.int64)  # (rows, K)
    unpredicted = (category < 0).astype(np.int64)[:, None]
    by_kind, area = both @ of_kind, both.sum(axis=1, keepdims=True)  # (rows, C), (rows, 1)
    void = area - by_kind.sum(axis=1, keepdims=True)

    union = area + both.sum(axis=0) - both - void
    pair = (2 * both > union) & (category >= 0)[:, None] & (kind >= 0) & ~crowd
    iou = fixed(np.where(pair, both / np.maximum(union, 1), 0.0))
    paired = pair @ of_kind
    lost = void + both[:, crowd] @ of_kind[crowd]  # (rows, C)
    ignorable = (paired == 0) & (2 * lost > area)
    return PanopticSums(
        pixels=np.hstack([of_category, unpredicted]).T @ by_kind,
        pairs=of_category.T @ paired,
        iou=of_category.T @ iou @ of_kind,
        predicted=of_category.sum(axis=0),
        true=of_kind[~crowd].sum(axis=0),
        ignorable=of_category.T @ ignorable,
    )


def _overlaps(
    predicted: NDArray[np.integer], truth: NDArray[np.integer]
) -> tuple[NDArray[np.integer], NDArray[np.integer], Counts]:
    """Ids of both maps, and the pixels of every pair of them."""
    rows, row = np.unique(predicted, return_inverse=True)
    columns, column = np.unique(truth, return_inverse=True)
    pairs = row.ravel() * columns.size + column.ravel()
    both = np.bincount(pairs, minlength=rows.size * columns.size)
    return rows, columns, both.reshape(rows.size, columns.size).astype(np.int64)


def _categories(ids: NDArray[np.integer], of: Mapping[int, int], stop: int) -> Counts:
    """Of the ids; -1 where there is none."""
    if not all(0 <= each < stop for each in of.values()):
        raise ValueError(f"categories {sorted(set(of.values()))} are not in [0, {stop})")
    return np.array([of.get(each, -1) for each in ids.tolist()], dtype=np.int64)


def _mean(figures: NDArray[np.float64]) -> PanopticScore:
    """Of (3, n) figures, without those that are not numbers."""
    present = figures[:, ~np.isnan(figures[0])]
    if present.shape[1] == 0:
        return PanopticScore(float("nan"), float("nan"), float("nan"))
    return PanopticScore(*present.mean(axis=1).tolist())
