"""Fewer classes out of a codebook, without a new fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from specray.errors import UserError
from specray.semantics.hierarchy import cut, ward

if TYPE_CHECKING:
    from specray.semantics.codebook import Codebook


def coarsened(codebook: Codebook, classes: int) -> Codebook:
    """A codebook whose classes are the groups of the hierarchy where it has that many.

    A group has the id and the medoid of its largest class. It keeps a name where its named classes
    agree on one. Its centroid is the mean of its classes' by size, so a point near the border of
    two groups may come into another one than by `group_ids`. Inertia and radii are bounds from
    above; silhouette, restarts and the curve were of other classes and are left out.

    Raises
    ------
    UserError
        There are fewer classes than that, or none is asked for.
    """
    groups = _groups(codebook, classes)
    largest = _largest(codebook.sizes, groups, classes)
    sizes = np.bincount(groups, codebook.sizes, classes).astype(np.int64)
    share = codebook.sizes / sizes[groups]
    centroids = _sums(codebook.centroids * share[:, None], groups, classes)
    if codebook.space.spherical:
        lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
        centroids /= np.where(lengths > 0, lengths, 1)
    moved = np.linalg.norm(codebook.centroids - centroids[groups], axis=1)
    order = np.lexsort((codebook.ids[largest], -sizes))
    ids = codebook.ids[largest]
    means = _sums(codebook.means * share[:, None], groups, classes)
    inertia = _moved_inertia(codebook, moved)
    return replace(
        codebook,
        ids=ids[order],
        centroids=centroids[order].astype(np.float32),
        means=means[order].astype(np.float32),
        sizes=sizes[order],
        radii=_sums((codebook.radii + moved) * share, groups, classes)[order],
        merges=ward(centroids[order], sizes[order]),
        medoids=tuple(codebook.medoids[k] for k in largest[order]),
        names=_names(codebook, groups, ids),
        quality=replace(
            codebook.quality, inertia=inertia, silhouette=None, stability=None, restarts=()
        ),
        curve=(),
        choice=f"{classes} groups of the hierarchy of {len(codebook.ids)} classes.",
    )


def group_ids(codebook: Codebook, classes: int) -> dict[int, int]:
    """Class id to the id that its group has in `coarsened`.

    Raises
    ------
    UserError
        There are fewer classes than that, or none is asked for.
    """
    groups = _groups(codebook, classes)
    ids = codebook.ids[_largest(codebook.sizes, groups, classes)]
    return dict(zip(codebook.ids.tolist(), ids[groups].tolist(), strict=True))


def _groups(codebook: Codebook, classes: int) -> NDArray[np.int64]:
    if not 1 <= classes <= len(codebook.ids):
        raise UserError(
            f"a codebook of {len(codebook.ids)} classes cannot be coarsened to {classes}"
        )
    return cut(codebook.merges, classes)


def _largest(
    sizes: NDArray[np.int64], groups: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Position of the largest class of each group, the first on ties."""
    falling = np.argsort(-sizes, kind="stable")
    return np.array([falling[groups[falling] == group][0] for group in range(classes)])


def _sums(
    values: NDArray[np.float64], groups: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    out = np.zeros((classes, *values.shape[1:]))
    np.add.at(out, groups, values)
    return out


def _moved_inertia(codebook: Codebook, moved: NDArray[np.float64]) -> float:
    """Bound of the inertia when the centroid of each class moves so far: triangle inequality."""
    shares = codebook.sizes / codebook.sizes.sum()
    return float(
        codebook.quality.inertia + (shares * (moved**2 + 2 * moved * codebook.radii)).sum()
    )


def _names(codebook: Codebook, groups: NDArray[np.int64], ids: NDArray[np.int64]) -> dict[int, str]:
    names = {}
    for group, number in enumerate(ids.tolist()):
        members = codebook.ids[groups == group].tolist()
        given = {codebook.names[member] for member in members if member in codebook.names}
        if len(given) == 1:
            names[number] = given.pop()
    return names
