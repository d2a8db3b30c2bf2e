"""Ids and names that stay the same when a dataset is clustered again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from specray.semantics.codebook import Codebook

SAME_CLASS = 0.5
"""Least cosine of two classes' means, less the mean of all, that are taken for the same.

Without the mean of all, different classes are alike too: of ViT-Tiny's keys on CamVid, different
classes of one codebook have a median cosine of 0.75, less the mean -0.1. Classes that are found
in both halves of the images have 0.9 and more.
"""


def matched(new: Codebook, old: Codebook) -> Codebook:
    """The classes of `new` under the ids and names of `old`.

    Classes are paired one to one so that the cosines of their centred means, counted from
    `SAME_CLASS` up, add up to most. A paired class takes the old id, and the old name unless it
    has one; every other gets a new id above all that `old` and those before it gave.

    Raises
    ------
    UserError
        The codebooks are of different features.
    """
    old.require(new.provenance.get("features", {}))
    similar = _similarities(new, old)
    usable = similar >= SAME_CLASS
    rows, columns = linear_sum_assignment(np.where(usable, similar, 0), maximize=True)
    ids = np.full(len(new.ids), -1, np.int64)
    for row, column in zip(rows, columns, strict=True):
        if usable[row, column]:
            ids[row] = old.ids[column]
    fresh = np.flatnonzero(ids < 0)
    ids[fresh] = old.next_id + np.arange(len(fresh))
    own = {int(ids[k]): new.names.get(int(number)) for k, number in enumerate(new.ids)}
    names = {number: name or old.names.get(number) for number, name in own.items()}
    return replace(
        new,
        ids=ids,
        names={number: name for number, name in names.items() if name is not None},
        next_id=old.next_id + len(fresh),
    )


def _similarities(new: Codebook, old: Codebook) -> NDArray[np.float64]:
    """(K new, K old) cosines of the classes' means, centred on the mean of the old points.

    A single class has nothing to be told apart from: its mean is compared as it is.
    """
    centre = np.average(old.means, axis=0, weights=old.sizes)
    if min(len(new.ids), len(old.ids)) == 1:
        centre = np.zeros_like(centre)
    ours, theirs = (_unit(book.means - centre) for book in (new, old))
    return ours @ theirs.T


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float64)
