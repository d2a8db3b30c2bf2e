"""Outputs of the label job, small and made without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from specray.masks import segments_from_labels
from specray.sources import Entry, LocalStore, Store, write_manifest
from specray.tables.commit import commit_shard
from specray.tables.rows import Row, segment_row
from specray.tables.run import write_run
from specray.tables.schema import LABELS
from specray.tables.shards import plan_shards
from tests.tables.report_cases import GEOMETRY, GRID, HEIGHT, WIDTH, photograph, run_record

FINGERPRINT = "1abe" * 16


def label_row(key: str, ids: Sequence[int], seed: int = 0, etag: str | None = None) -> Row:
    """A row of up to eight regions, of random classes among `ids` and random confidence."""
    rng = np.random.default_rng(seed)
    regions = np.arange(GRID[0] * GRID[1]).reshape(GRID) // 5  # 8 runs of 5 cells
    classes, sure = rng.choice(ids, 8), rng.random(8).astype(np.float32).astype(np.float64)
    points = [
        {
            "index": region.index,
            "class": int(classes[region.index]),
            "confidence": float(sure[region.index]),
            "bbox": list(region.bbox),
        }
        for region in segments_from_labels(regions, GEOMETRY, "superpixel", sure)
    ]
    return good_row(key, classes[regions], etag) | {"points": points}


def good_row(key: str, classes: NDArray[np.int64], etag: str | None = None) -> Row:
    """A row of which single patches were labelled; -1 is no class."""
    scores = np.linspace(0.1, 0.9, 1 + max(1, int(classes.max())))
    masks = segments_from_labels(classes, GEOMETRY, "class", scores)
    size = {"size": 1, "etag": etag, "width": WIDTH, "height": HEIGHT}
    return {"key": key} | size | {"segments": [segment_row(mask) for mask in masks]}


def photographed(source: Store, key: str, ids: Sequence[int], seed: int = 0) -> Row:
    """The row of a photograph that is in `source`."""
    source.write(key, photograph(seed))
    return label_row(key, ids, seed, source.read(key).etag)


def class_entry(class_id: int, **changes: Any) -> dict[str, Any]:
    """What the run record says of a class."""
    return {
        "id": class_id,
        "name": None,
        "points": 1000 - class_id,
        "radius": 0.25,
        "medoid": None,
        "nearest": 0,
    } | changes


def clustering(classes: Sequence[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """What the run record says of the classes; they merge one after the other."""
    count = len(classes)
    nodes = [0, *range(count, 2 * count - 2)]
    return {
        "source": "superpixels",
        "dimensions": 192,
        "points": 54_321,
        "fitted": 43_210,
        "spherical": True,
        "pca": None,
        "whiten": False,
        "seed": 0,
        "inertia": 0.1234,
        "silhouette": 0.375,
        "stability": 0.625,
        "restarts": [0.1234, 0.2345],
        "balance": 0.875,
        "classes": list(classes),
        "merges": [[nodes[i], i + 1, 0.5 + i, 100 * (i + 2)] for i in range(count - 1)],
        "curve": [],
        "choice": None,
    } | changes


def commit(output: Store, rows: Sequence[Row], shard_size: int = 16) -> list[str]:
    """Write a manifest and the rows in its shards; returns the manifest's files."""
    ordered = sorted(rows, key=lambda row: row["key"])
    entries = [Entry(row["key"], 1, "e") for row in ordered]
    parts = write_manifest(entries, output, shard_size)
    start = 0
    for shard in plan_shards(output, parts, FINGERPRINT):
        rows_of_shard = table_of(ordered[start : start + shard.rows])
        commit_shard(output, shard.name, rows_of_shard, LABELS)
        start += shard.rows
    return parts


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table of the schema; what a row does not name is null."""
    return pa.Table.from_pylist(list(rows), schema=LABELS)


def make_output(
    output: Store,
    rows: Sequence[Row],
    made: dict[str, Any],
    source: str = "photos",
    shard_size: int = 16,
    **changes: Any,
) -> None:
    """Write rows, the record of their run, and that of its segments beside it."""
    segments = LocalStore(f"{output.uri}-segments")
    write_run(segments, run_record(len(rows), source))
    record = {
        "job": "label",
        "schema_version": "1",
        "fingerprint": FINGERPRINT,
        "manifest": commit(output, rows, shard_size),
        "status": "finished",
        "configuration": {
            "input": segments.uri,
            "source": made["source"],
            "images": None,
            "endpoint": None,
            "clusters": {"classes": "auto", "restarts": 3},
        },
        "versions": {"specray": "0.1.0", "faiss-cpu": "9.8.7"},
        "segments": segments.uri,
        "clustering": made,
    }
    write_run(output, record | changes)
