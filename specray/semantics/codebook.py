"""The codebook: what decides the class of a feature, and what is known about each class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specray.errors import UserError
from specray.semantics import codebook_file
from specray.semantics.choosing import CurvePoint
from specray.semantics.matching import matched
from specray.semantics.nearest import Assigned, confidence, nearest
from specray.semantics.packing import digest_of
from specray.semantics.space import Floats, Space


@dataclass(frozen=True)
class Medoid:
    """The fitted point nearest to a centroid: its image, the segment's or patch's index, its box.

    `bbox` is (x, y, w, h) in pixels, None where a point has none.
    """

    key: str
    index: int
    bbox: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Quality:
    """How good the clustering is.

    Parameters
    ----------
    inertia
        Mean squared distance of the fitted points to their centroid.
    silhouette
        Of a sample, None where it is not defined.
    stability
        Mean pairwise adjusted Rand index of the restarts, None for one.
    restarts
        Inertia of every restart.
    """

    inertia: float
    silhouette: float | None = None
    stability: float | None = None
    restarts: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Codebook:
    """Classes of a feature space. K classes, D dimensions of a feature, d of a projected point.

    Parameters
    ----------
    ids
        (K,) int64 distinct class ids, any that are not negative.
    centroids
        (K, d) float32 in the projected space.
    means
        (K, D) float32 mean unit feature of each class in the original feature space.
    sizes
        (K,) int64 fitted points of each class, at least 1.
    radii
        (K,) float64 mean distance of the fitted points to their centroid.
    merges
        (K - 1, 4) float64 hierarchy, from `ward`.
    space
        From features to projected points.
    medoids
        K of them, None where unknown.
    names
        Of those classes that have one, by id.
    next_id
        Above every id that this codebook or one it was matched to ever gave: ids are not reused.
    points
        Number of all points, of which ``sizes.sum()`` were fitted.
    quality, curve, choice
        How good the clustering is, and with `auto` how K was chosen and why.
    provenance
        JSON: ``features`` holds whatever decides the feature space, ``features.source`` the kind of
        points; ``seed``, ``config``, ``versions``.
    """

    ids: NDArray[np.int64]
    centroids: NDArray[np.float32]
    means: NDArray[np.float32]
    sizes: NDArray[np.int64]
    radii: NDArray[np.float64]
    merges: NDArray[np.float64]
    space: Space
    medoids: tuple[Medoid | None, ...]
    names: Mapping[int, str]
    next_id: int
    points: int
    quality: Quality
    curve: tuple[CurvePoint, ...] = ()
    choice: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def assign(self, points: Floats) -> Assigned:
        """Class of every feature; nothing but the feature itself decides it, bit for bit.

        Parameters
        ----------
        points
            (N, D) features of any floating type.

        Raises
        ------
        UserError
            A feature is not finite or has another dimension.
        """
        projected = self.space.project(points)
        labels, first, second = nearest(projected, self.centroids, self.space.bound)
        return Assigned(
            self.ids[labels], confidence(first, second), np.sqrt(first).astype(np.float32)
        )

    def matched(self, old: Codebook) -> Codebook:
        """The same classes with the ids and names of an older codebook; see `matching`."""
        return matched(self, old)

    def renamed(self, names: Mapping[int, str]) -> Codebook:
        """The same classes; those in `names` are called so, others keep their name.

        Raises
        ------
        UserError
            There is no class of such an id.
        """
        unknown = sorted(set(names) - set(self.ids.tolist()))
        if unknown:
            raise UserError(f"there is no class {unknown[0]} to name {names[unknown[0]]!r}")
        return replace(self, names={**self.names, **names})

    def require(self, features: Mapping[str, Any]) -> None:
        """Check that features are from the space that this codebook was fitted in.

        Raises
        ------
        UserError
            They are not; the message names the first difference.
        """
        own = self.provenance.get("features", {})
        features = json.loads(json.dumps(dict(features)))  # as read from a file: tuples are lists
        for name in sorted({*own, *features}):
            if own.get(name) != features.get(name):
                raise UserError(
                    f"the codebook is for other features: {name} was {own.get(name)!r}, "
                    f"is {features.get(name)!r}; segment as then, or cluster anew"
                )

    @property
    def digest(self) -> str:
        """Of what decides the labels of features: not the names, nor what is known of the fit."""
        space = {name: getattr(self.space, name) for name in codebook_file.SPACE_ARRAYS}
        arrays: dict[str, NDArray[Any]] = {"ids": self.ids, "centroids": self.centroids}
        arrays |= {name: array for name, array in space.items() if array is not None}
        return digest_of(arrays, str(self.space.spherical))

    def summary(self) -> dict[str, Any]:
        """What `run.json` and the report say about the clustering, as JSON."""
        fitted = int(self.sizes.sum())
        return {
            "source": self.provenance.get("features", {}).get("source"),
            "dimensions": self.space.dimensions,
            "points": self.points,
            "fitted": fitted,
            "spherical": self.space.spherical,
            "pca": None if self.space.components is None else self.space.projected,
            "whiten": self.space.scale is not None,
            "seed": self.provenance.get("seed"),
            **asdict(self.quality),
            "restarts": list(self.quality.restarts),
            "balance": _balance(self.sizes),
            "classes": self._classes(),
            "merges": [[int(a), int(b), d, int(n)] for a, b, d, n in self.merges.tolist()],
            "curve": [asdict(point) for point in self.curve],
            "choice": self.choice,
        }

    def to_bytes(self) -> bytes:
        """One safetensors file; `from_bytes` gives the same codebook."""
        arrays: dict[str, NDArray[Any]] = {
            name: getattr(self, name) for name in codebook_file.ARRAYS
        }
        for name in codebook_file.SPACE_ARRAYS:
            if getattr(self.space, name) is not None:
                arrays[name] = getattr(self.space, name)
        document = {
            "dimensions": self.space.dimensions,
            "spherical": self.space.spherical,
            "medoids": [medoid and asdict(medoid) for medoid in self.medoids],
            "names": {str(number): name for number, name in self.names.items()},
            "next_id": self.next_id,
            "points": self.points,
            "quality": asdict(self.quality),
            "curve": [asdict(point) for point in self.curve],
            "choice": self.choice,
            "provenance": dict(self.provenance),
        }
        return codebook_file.pack(arrays, document)

    @classmethod
    def from_bytes(cls, data: bytes) -> Codebook:
        """Read what `to_bytes` wrote.

        Raises
        ------
        UserError
            The bytes are damaged, something else, or of another version.
        """
        arrays, document = codebook_file.unpack(data)
        try:
            space = Space(
                document["dimensions"],
                document["spherical"],
                *(arrays.get(name) for name in codebook_file.SPACE_ARRAYS),
            )
            quality = document["quality"]
            return cls(
                **{name: arrays[name] for name in codebook_file.ARRAYS},
                space=space,
                medoids=tuple(_medoid(medoid) for medoid in document["medoids"]),
                names={int(number): name for number, name in document["names"].items()},
                next_id=document["next_id"],
                points=document["points"],
                quality=Quality(**{**quality, "restarts": tuple(quality["restarts"])}),
                curve=tuple(CurvePoint(**point) for point in document["curve"]),
                choice=document["choice"],
                provenance=document["provenance"],
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(codebook_file.FOREIGN) from None

    def _classes(self) -> list[dict[str, Any]]:
        neighbours = self._neighbours()
        return [
            {
                "id": int(number),
                "name": self.names.get(int(number)),
                "points": int(self.sizes[k]),
                "radius": float(self.radii[k]),
                "medoid": _plain(self.medoids[k]),
                "nearest": neighbours[k],
            }
            for k, number in enumerate(self.ids)
        ]

    def _neighbours(self) -> list[int | None]:
        """Id of the class with the nearest centroid, for each; None for the only class."""
        if len(self.ids) == 1:
            return [None]
        found: list[int | None] = []
        for k, centroid in enumerate(self.centroids.astype(np.float64)):
            squared = np.square(self.centroids - centroid).sum(axis=1)
            squared[k] = np.inf
            found.append(int(self.ids[squared.argmin()]))
        return found


def _balance(sizes: NDArray[np.int64]) -> float:
    """Entropy of the sizes of the classes as a share of the largest there can be."""
    if len(sizes) == 1:
        return 1.0
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(sizes)))


def _medoid(stored: dict[str, Any] | None) -> Medoid | None:
    if stored is None:
        return None
    bbox = stored["bbox"]
    return Medoid(stored["key"], stored["index"], None if bbox is None else tuple(bbox))


def _plain(medoid: Medoid | None) -> dict[str, Any] | None:
    if medoid is None:
        return None
    return {**asdict(medoid), "bbox": None if medoid.bbox is None else list(medoid.bbox)}
