"""The stream of the label job as a graph of Ray Data: read, label, commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray
from ray.data import DataContext, Dataset, TaskPoolStrategy

from specray.errors import ImageError, Stage, UserError, unforeseen
from specray.masks import RefineConfig, Refiner
from specray.pipelines.cluster import data_context, plan_resources
from specray.pipelines.committing import Commit
from specray.pipelines.labels.config import Background, Source
from specray.pipelines.labels.maps import (
    Classified,
    geometry_of,
    map_of_patches,
    map_of_segments,
    refined,
)
from specray.pipelines.labels.places import PLACES, LabelPlaces
from specray.pipelines.labels.points import Points, points_of
from specray.pipelines.ledger import Ledger
from specray.pipelines.progress import Progress
from specray.pipelines.revisiting import Revisit, decode_again
from specray.pipelines.segmented_source import SegmentedSource
from specray.pipelines.tally import start_tally
from specray.semantics import Codebook
from specray.sources import Blob, Store
from specray.tables.counts import ShardCounts
from specray.tables.rows import Row, error_row, segment_row
from specray.tables.schema import LABELS
from specray.tables.shards import Shard

BATCH: Final = 16
"""Images that a task labels: less than a second of work where they are refined."""

LABELLED: Final = pa.schema([*list(PLACES)[:2], *(f.with_nullable(True) for f in LABELS)])


@dataclass(frozen=True)
class Labeller:
    """Gives the points of images their classes, and makes the semantic maps of these.

    Parameters
    ----------
    codebook
        The classes.
    source, background
        As in `LabelConfig`.
    cell
        Side of a cell of the grid, in pixels of the image as the backbone saw it.
    image_size
        Short side of that image; None: its own.
    """

    codebook: Codebook
    source: Source
    background: Background
    cell: int
    image_size: int | None

    def __call__(self, places: pa.Table) -> list[Row]:
        """Rows of `LABELS`, of places of which none is an error; maps are not refined.

        ``segments`` are not rows yet.
        """
        points = points_of(places, self.source)
        classes, confidence = self._classes(points)
        ends = np.searchsorted(points.rows, np.arange(places.num_rows + 1))
        of_places = places.drop_columns(["segments", "features"]).to_pylist()
        return [
            row | self._labelled(row, points.slice(a, b), classes[a:b], confidence[a:b])
            for row, a, b in zip(of_places, ends[:-1], ends[1:], strict=True)
        ]

    def _classes(self, points: Points) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not len(points.rows):
            return np.zeros(0, np.int64), np.zeros(0)
        found = self.codebook.assign(points.features)
        classes, confidence = found.classes.copy(), found.confidence.astype(np.float64)
        if self.background != "class":
            behind = points.index == 0
            classes[behind] = -1 if self.background == "apart" else 0
            confidence[behind] = 0  # nobody has compared it
        return classes, confidence

    def _labelled(
        self, row: Row, points: Points, classes: NDArray[np.int64], confidence: NDArray[np.float64]
    ) -> Row:
        if points.segments is None:
            found = Classified(classes, confidence, np.ones(len(classes)))
            geometry = geometry_of(row, self.cell, self.image_size)
            return {"segments": map_of_patches(found, geometry), "points": None}
        areas = pc.struct_field(points.segments, "area").to_numpy().astype(np.float64)
        found = Classified(classes, confidence, areas)
        masks = pc.struct_field(points.segments, "rle").to_pylist()
        boxes = pc.struct_field(points.segments, "bbox").to_pylist()
        of_points = zip(points.index.tolist(), classes.tolist(), confidence, boxes, strict=True)
        names = ("index", "class", "confidence", "bbox")
        return {
            "segments": map_of_segments(masks, found),
            "points": [dict(zip(names, values, strict=True)) for values in of_points],
        }


@dataclass(frozen=True)
class RefineMap:
    """Moves the borders of the map of a row to those of its photograph.

    Parameters
    ----------
    config
        How.
    max_pixels, image_size
        As in the segment run.
    """

    config: RefineConfig
    max_pixels: int
    image_size: int | None

    def __call__(self, row: Row, blob: Blob | ImageError) -> Row:
        """The refined map; faults become ``error``."""
        try:
            short_side = self.config.refine_size or self.image_size
            if short_side is not None:
                short_side = min(short_side, row["height"], row["width"])
            image = decode_again(row, blob, self.max_pixels, short_side)
            return {"segments": refined(row["segments"], Refiner(image.pixels, self.config))}
        except ImageError as error:
            return _failed(ImageError(error.code, Stage.LABEL, error.message))
        except UserError:
            raise
        except Exception as error:
            return _failed(unforeseen(error, Stage.LABEL))


def _failed(error: ImageError) -> Row:
    return {"segments": None, "points": None, "error": error_row(error)}


@dataclass(frozen=True)
class Label:
    """A block of `PLACES` to one of `LABELLED`.

    Parameters
    ----------
    labeller
        A reference to the `Labeller`: the codebook may be large.
    revisit
        Refines the maps; None where they are not.
    tally
        See `start_tally`.
    """

    labeller: Any
    revisit: Revisit | None
    tally: Any

    def __call__(self, places: pa.Table) -> pa.Table:
        """Label what has no error; errors and unused places pass through."""
        good = pc.and_(pc.is_valid(places["key"]), pc.is_null(places["error"]))
        rows: list[Row] = places.drop_columns(["segments", "features"]).to_pylist()
        labeller: Labeller = ray.get(self.labeller)
        found = iter(labeller(places.filter(good)))
        rows = [next(found) if ok else row for row, ok in zip(rows, good.to_pylist(), strict=True)]
        if self.revisit is None:
            images = sum(row["key"] is not None for row in rows)
            self.tally.add.remote(images, sum(row["error"] is not None for row in rows), 0)
        else:
            fine = self.revisit(rows)
            rows = [row | fine.get(row["key"], {}) for row in rows]
        return pa.Table.from_pylist([_as_stored(row) for row in rows], schema=LABELLED)


def _as_stored(row: Row) -> Row:
    stored = {name: row.get(name) for name in LABELLED.names}
    if stored["segments"] is not None:
        stored["segments"] = [segment_row(segment) for segment in stored["segments"]]
    return stored


@dataclass(frozen=True)
class LabelPass:
    """Read, label, commit: the planned shards, in their order.

    Parameters
    ----------
    places
        The segment table.
    labeller
        Labels an image.
    refine, images
        Refines its map, with the photographs that are there; both None where it is not.
    output
        Where to.
    shards
        Shards to do, each with the name of the shard of segments that has its rows.
    num_workers
        Batches in hand at a time; None takes one per core.
    max_error_rate
        See `ErrorLimit`.
    """

    places: LabelPlaces
    labeller: Labeller
    refine: RefineMap | None
    images: Store
    output: Store
    shards: Sequence[tuple[Shard, str]]
    num_workers: int | None
    max_error_rate: float

    def run(self) -> tuple[ShardCounts, dict[str, Any]]:
        """Commit every shard, with a progress line; returns counts and how it went, see `Tally`.

        Raises
        ------
        UserError
            The cluster has no room, a store does not answer, or too many of the images are
            errors. What was committed stays.
        """
        workers = plan_resources(ray.cluster_resources(), "cpu", self.num_workers).actors
        tally = start_tally(workers)
        ledger = Ledger([shard for shard, _ in self.shards], self.max_error_rate)
        with DataContext.current(data_context()):
            graph = self._graph(workers, tally)
        with Progress(ledger.work, lambda: ray.get(tally.read.remote())):
            ledger.take(graph)
        work = ray.get(tally.summary.remote(ledger.work))
        return ledger.counts, {"images_per_second": work["images_per_second"]}

    def _graph(self, workers: int, tally: Any) -> Dataset:
        longest = max(shard.rows for shard, _ in self.shards)
        places = -(-longest // BATCH) * BATCH  # whole batches, so that none spans two shards
        source = SegmentedSource(self.places, self.shards, places)
        listed = ray.data.read_datasource(source).repartition(
            target_num_rows_per_block=BATCH, strict=True
        )
        revisit = None
        if self.refine is not None:
            revisit = Revisit(self.images, self.refine, Stage.LABEL, tally)
        labelled = listed.map_batches(
            Label(ray.put(self.labeller), revisit, tally),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            compute=TaskPoolStrategy(workers),
        )
        receipts: Dataset = labelled.map_batches(
            Commit(self.output, LABELS),
            batch_size=places,
            batch_format="pyarrow",
            num_cpus=0,
            compute=TaskPoolStrategy(workers),  # else a process for each shard that is ready
        )
        return receipts
