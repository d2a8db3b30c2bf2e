"""Outputs of the segment job, small and made without it, that the tests of the report share."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from specray.errors import ErrorCode, ImageError, Stage
from specray.masks import ImageGeometry, segments_from_labels
from specray.sources import Entry, Store, write_manifest
from specray.tables.commit import commit_shard
from specray.tables.rows import Row, error_row, segment_row, table_of
from specray.tables.run import write_run
from specray.tables.schema import EDITS
from specray.tables.shards import plan_shards

HEIGHT, WIDTH, PATCH = 40, 64, 8
GRID = (HEIGHT // PATCH, WIDTH // PATCH)
GEOMETRY = ImageGeometry(HEIGHT, WIDTH, HEIGHT, WIDTH, PATCH, *GRID)

FINGERPRINT = "f00d" * 16
WEIGHTS = "c0ffee" * 10 + "beef"


def photograph(seed: int) -> bytes:
    """A PNG of noise."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def good_row(key: str, etag: str | None = None, seed: int = 0, eigenvectors: bool = True) -> Row:
    """A row with two objects, three regions and five eigenvectors."""
    rng = np.random.default_rng(seed)
    objects = np.full(GRID, -1)
    top, left = rng.integers(0, 3), rng.integers(0, 5)
    objects[top : top + 2, left : left + 3] = 0
    objects[4, 0] = 1
    regions = np.zeros(GRID, dtype=np.int64)
    regions[:2], regions[2:, 6:] = 1, 2
    segments = segments_from_labels(objects, GEOMETRY, "object", rng.random(2))
    segments += segments_from_labels(regions, GEOMETRY, "region", rng.random(3))
    return {
        "key": key,
        "size": 1,
        "etag": etag,
        "width": WIDTH,
        "height": HEIGHT,
        "grid_h": GRID[0],
        "grid_w": GRID[1],
        "eigenvalues": [0.0, *np.sort(rng.random(4))],
        "eigenvectors": rng.normal(size=5 * GRID[0] * GRID[1]).astype(np.float16)
        if eigenvectors
        else None,
        "dense_fallback": bool(seed % 2),
        "segments": [segment_row(segment) for segment in segments],
    }


def with_instances(row: Row, count: int) -> Row:
    """A good row with so many instances besides; every second index is missing, as it may be."""
    labels = np.full(GRID, -1)
    labels.flat[: 2 * count] = np.arange(2 * count)
    scores = np.linspace(0.4, 0.02, 2 * count)
    instances = segments_from_labels(labels, GEOMETRY, "instance", scores)[::2]
    return row | {"segments": [*row["segments"], *map(segment_row, instances)]}


def bad_row(key: str, code: ErrorCode = ErrorCode.CORRUPT, message: str = "cut short") -> Row:
    """A row with an error."""
    return {"key": key, "error": error_row(ImageError(code, Stage.DECODE, message))}


def photographed(source: Store, key: str, seed: int = 0) -> Row:
    """The row of a photograph that is in `source`."""
    source.write(key, photograph(seed))
    return good_row(key, source.read(key).etag, seed)


def run_record(images: int, source: str = "photos", **changes: Any) -> dict[str, Any]:
    """What the segment job writes into run.json."""
    result = {
        "images": images,
        "shards": 3,
        "bytes": 4_567_890,
        "new_images": images,
        "images_per_second": 12.34,
        "seconds": 98.7,
    }
    record: dict[str, Any] = {
        "job": "segment",
        "schema_version": "1",
        "fingerprint": FINGERPRINT,
        "manifest": [],
        "configuration": {
            "input": source,
            "methods": ["objects", "regions"],
            "keep": ["eigenvectors"],
            "seed": 4711,
            "images": {"image_size": None},
            "features": {"backbone": "vit_of_the_test", "block": -1},
            "spectral": {"downsample_factor": PATCH},
            "objects": {"connectivity": 8},
            "refinement": {"refine": "fast", "refine_size": 32},
            "run": {"shard_size": 16, "endpoint": None},
        },
        "weights": {"source": "weights/of/the/test.safetensors", "sha256": WEIGHTS},
        "versions": {"specray": "0.1.0", "torch": "9.8.7"},
        "status": "finished",
        "result": result,
    }
    return record | changes


def commit(output: Store, rows: Sequence[Row], shard_size: int = 16) -> list[str]:
    """Write a manifest and the rows in its shards; returns the manifest's files."""
    ordered = sorted(rows, key=lambda row: row["key"])
    entries = [Entry(row["key"], 1, "e") for row in ordered]
    parts = write_manifest(entries, output, shard_size)
    start = 0
    for shard in plan_shards(output, parts, FINGERPRINT):
        commit_shard(output, shard.name, table_of(ordered[start : start + shard.rows]))
        start += shard.rows
    return parts


def make_output(
    output: Store,
    rows: Sequence[Row],
    source: str = "photos",
    methods: Sequence[str] = ("objects", "regions"),
) -> None:
    """Write rows and the record of their run."""
    parts = commit(output, rows)
    record = run_record(len(rows), source, manifest=parts)
    record["configuration"]["methods"] = list(methods)
    write_run(output, record)


def cutout(seed: int, mode: str = "RGBA") -> bytes:
    """A picture of the edit job: noise, opaque in the left half alone."""
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    pixels[..., 3] = np.where(np.arange(WIDTH) < WIDTH // 2, 255, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def edited(edits: Store, row: Row, picture: bytes, *, fallback: bool = False) -> Row:
    """The row of a cut-out that is in `edits`."""
    file = f"cutouts/{row['key']}.png"
    edits.write(file, picture)
    kept = {name: row.get(name) for name in ("key", "size", "etag", "width", "height")}
    made = {"file": file, "file_size": len(picture), "matting_fallback": fallback}
    return kept | made


def not_edited(row: Row, code: ErrorCode, message: str) -> Row:
    """The row of an image that could not be cut out."""
    kept = {name: row.get(name) for name in ("key", "size", "etag", "width", "height")}
    return kept | {"error": error_row(ImageError(code, Stage.EDIT, message))}


def make_edits(
    edits: Store, rows: Sequence[Row], shard_size: int = 16, **changes: Any
) -> dict[str, Any]:
    """Write rows of an edit job and the record of its run, which is returned."""
    ordered = sorted(rows, key=lambda row: row["key"])
    entries = [Entry(row["key"], 1, "e") for row in ordered]
    parts = write_manifest(entries, edits, shard_size)
    start = 0
    for shard in plan_shards(edits, parts, "ed17" * 16):
        table = pa.Table.from_pylist(ordered[start : start + shard.rows], schema=EDITS)
        commit_shard(edits, shard.name, table, EDITS)
        start += shard.rows
    record: dict[str, Any] = {
        "job": "edit",
        "status": "finished",
        "fingerprint": "ed17" * 16,
        "decisive": {"segments": FINGERPRINT},
        "manifest": parts,
        "configuration": {"input": "out", "objects": "main", "background": "transparent"},
    }
    write_run(edits, record | changes)
    return record | changes


def report_files(output: Store) -> dict[str, bytes]:
    """Everything under report/, by its key."""
    return {
        entry.key: output.read(entry.key).data
        for entry in output.list()
        if entry.key.startswith("report/")
    }


class Page(HTMLParser):
    """What a browser would find in a page: tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    @property
    def text(self) -> str:
        """All text, elements and words set apart by single spaces."""
        return " ".join(" ".join(self._text).split())

    def values(self, attribute: str) -> list[str]:
        """The values of an attribute, in the order of the page."""
        return [a[attribute] or "" for _, a in self.tags if attribute in a]

    def count(self, tag: str) -> int:
        """How many elements of a kind there are."""
        return sum(name == tag for name, _ in self.tags)


def read_page(output: Store) -> Page:
    """The page of the report in an output."""
    return Page(output.read("report/index.html").data.decode())
