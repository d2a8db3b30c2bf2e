"""A finished segment run of any size that no backbone has made: superpixels of a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specray.backbones import BackboneConfig
from specray.masks import ImageGeometry, Segment
from specray.masks.segments import segments_from_labels
from specray.pipelines.benchmark.synthetic import PATCH, write_run
from specray.pipelines.config import SegmentConfig
from specray.seeds import derive_seed
from specray.tables.rows import table_of
from specray.tables.schema import SEGMENT, SEGMENTS

PER_IMAGE: Final = 40
"""Superpixels of an image, as the segment job makes them by default."""

_GRID: Final = (30, 40)
_MAPS: Final = 16
"""Different maps of superpixels: an image has one of them."""

_DIRECTIONS: Final = 32
_VARIATION, _NOISE = 0.7, 0.3
"""Standard deviations of a feature along the first direction, and of its noise."""


@dataclass(frozen=True)
class Mixture:
    """Features in clusters of unequal sizes that overlap, as those of photographs do.

    A feature is the centre of its cluster, of variance 1, and variation along a few directions that
    all clusters have in common, and a little noise: k-means does not converge at once on it.

    Parameters
    ----------
    clusters
        The k-th has a share of the features proportional to 1 / (k + 3).
    dimensions
        Of a feature.
    seed
        Of centres and draws.
    """

    clusters: int = 27
    dimensions: int = 384
    seed: int = 0

    @cached_property
    def centres(self) -> NDArray[np.float32]:
        """(clusters, D)."""
        return self._normal("centres", self.clusters)

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """(_DIRECTIONS, D), of falling length."""
        falling = np.sqrt(np.arange(1, _DIRECTIONS + 1))[:, None]
        return (_VARIATION / falling * self._normal("directions", _DIRECTIONS)).astype(np.float32)

    def draw(self, count: int, key: str) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """(N, D) features and (N,) their clusters, of what has this key."""
        rng = np.random.default_rng(derive_seed(self.seed, key))
        weights = 1 / (np.arange(self.clusters) + 3)
        own = rng.choice(self.clusters, count, p=weights / weights.sum())
        features = rng.standard_normal((count, self.dimensions), np.float32)
        features *= _NOISE
        features += rng.standard_normal((count, _DIRECTIONS), np.float32) @ self.directions
        features += self.centres[own]
        return features.astype(np.float16), own

    def _normal(self, name: str, count: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(derive_seed(self.seed, name))
        return rng.standard_normal((count, self.dimensions), np.float32)


def write_segments(output: str, images: int, mixture: Mixture) -> int:
    """Write the output of a segment run over images that there are not; memory holds one shard.

    Parameters
    ----------
    output
        Folder or URI.
    images
        Rows; each has `PER_IMAGE` superpixels, which cover it.
    mixture
        Of the features.

    Returns
    -------
    Bytes of its shards.
    """
    config = SegmentConfig(
        input=f"{output.rstrip('/')}-photographs",
        output=output,
        methods=("superpixels",),
        features=BackboneConfig(backbone="descriptor"),
    )
    maps = [_superpixels(seed) for seed in range(_MAPS)]

    def rows_of(listed: pa.Table, name: str) -> pa.Table:
        features, _ = mixture.draw(listed.num_rows * PER_IMAGE, name)
        return _table(listed, maps, features)

    return write_run(config, images, rows_of)


def _superpixels(seed: int) -> list[Segment]:
    """Cells of the grid that are nearest to each of some random places."""
    height, width = _GRID
    rng = np.random.default_rng(seed)
    places = rng.choice(height * width, PER_IMAGE, replace=False)
    cells = np.indices(_GRID).reshape(2, -1).T
    squared = np.square(cells[:, None] - cells[places]).sum(axis=2)
    geometry = ImageGeometry(
        height * PATCH, width * PATCH, height * PATCH, width * PATCH, PATCH, height, width
    )
    labels = squared.argmin(axis=1).reshape(_GRID)
    return segments_from_labels(labels, geometry, "superpixel", np.full(PER_IMAGE, 0.5))


def _table(
    listed: pa.Table, maps: Sequence[Sequence[Segment]], features: NDArray[np.float16]
) -> pa.Table:
    """Rows of `SEGMENTS` for a shard of the manifest."""
    images = listed.num_rows
    segments = [segment for i in range(images) for segment in maps[i % len(maps)]]
    columns = {
        name: [getattr(segment, name) for segment in segments]
        for name in SEGMENT.names
        if name != "feature"
    }
    arrays = [pa.array(column, SEGMENT.field(name).type) for name, column in columns.items()] + [
        _lists(features.ravel(), features.shape[1])
    ]
    sizes = {"height": _GRID[0] * PATCH, "width": _GRID[1] * PATCH}
    sizes |= {"grid_h": _GRID[0], "grid_w": _GRID[1]}
    parts = {
        **{name: listed[name] for name in ("key", "size", "etag")},
        **{name: pa.repeat(pa.scalar(size, pa.int32()), images) for name, size in sizes.items()},
        "segments": _lists(pa.StructArray.from_arrays(arrays, fields=list(SEGMENT)), PER_IMAGE),
    }
    nothing = table_of([{}] * images)  # Arrow makes no nulls of a struct whose fields are required
    return pa.table({name: parts.get(name, nothing[name]) for name in SEGMENTS.names})


def _lists(values: pa.Array | NDArray[np.float16], length: int) -> pa.ListArray:
    """Lists of equal length."""
    offsets = np.arange(0, len(values) + 1, length, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
