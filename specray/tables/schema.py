"""The Arrow schemas of the tables: one row per image of the manifest, good or bad."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

SCHEMA_VERSION: Final = "1"

RLE = pa.struct([("size", pa.list_(pa.int32(), 2)), ("counts", pa.binary())])
"""COCO compressed run-length encoding: ``size`` is [height, width] in pixels."""

SEGMENT = pa.struct(
    [
        # object | region | instance | superpixel | primap; of a label table: class
        pa.field("method", pa.string(), nullable=False),
        # rank within the method: 0 is the object, or the background region; the id of a class
        pa.field("index", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # in [0, 1], higher is surer
        # [x, y, width, height] in pixels of the original image
        pa.field("bbox", pa.list_(pa.float32(), 4), nullable=False),
        pa.field("area", pa.int64(), nullable=False),  # pixels of the mask
        pa.field("rle", RLE, nullable=False),
        # (D,) what the image's features are under the mask, or those of its crop
        pa.field("feature", pa.list_(pa.float16())),
    ]
)

FEATURES: Final = frozenset({"features", "feature_scale", "views"})
"""Columns of features, which are most of the bytes where they are kept."""

MASKS: Final = tuple(
    f"segments.list.element.{SEGMENT.field(i).name}"
    for i in range(SEGMENT.num_fields)
    if SEGMENT.field(i).name != "feature"
)
"""To read ``segments`` without their features, which are most of the bytes."""

ERROR = pa.struct(
    [
        pa.field("code", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)

SEGMENTS: Final = pa.schema(
    [
        # path relative to the input URI, forward slashes: the id everything joins on
        pa.field("key", pa.string(), nullable=False),
        # of the object when it was read; null if it could not be read
        pa.field("size", pa.int64()),
        pa.field("etag", pa.string()),
        # pixels, after EXIF rotation; null where the header could not be read
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        # the grid of the eigenvectors, in cells
        pa.field("grid_h", pa.int32()),
        pa.field("grid_w", pa.int32()),
        # ascending, normalised Laplacian; null where nothing that was asked for takes eigenvectors
        pa.field("eigenvalues", pa.list_(pa.float32())),
        # kept on demand: K x grid_h x grid_w values, row-major, eigenvector 0 first
        pa.field("eigenvectors", pa.list_(pa.float16())),
        # kept on demand: grid_h x grid_w x C values, row-major, the largest magnitude 1
        pa.field("features", pa.list_(pa.float16())),
        # of the features and those of the views: what the backbone said is this times them; where
        # the grid is not its own, of what it said at unit length
        pa.field("feature_scale", pa.float32()),
        # kept on demand: V x grid_h x grid_w x C values of float16, little endian, as `features`
        # is; of the mirror image, then of each view and of its mirror image
        pa.field("views", pa.large_binary()),
        # true where the iterative solver did not converge and dense eigh took over; null as above
        pa.field("dense_fallback", pa.bool_()),
        # true where there would have been more principal masks than their largest number; null
        # where none were asked for
        pa.field("primaps_capped", pa.bool_()),
        pa.field("segments", pa.list_(SEGMENT)),
        pa.field("error", ERROR),
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)

POINT = pa.struct(
    [
        # of the segment of the segment table, as is the box
        pa.field("index", pa.int32(), nullable=False),
        # -1: none, a background that stands apart
        pa.field("class", pa.int32(), nullable=False),
        # in [0, 1]: 1 - distance to its class / distance to the next one
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("bbox", pa.list_(pa.float32(), 4), nullable=False),
    ]
)
"""A segment that was labelled."""

LABELS: Final = pa.schema(
    [
        # of the segment table, as are the next four
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        # the semantic map: a segment of method `class` for every class that the image has
        pa.field("segments", pa.list_(SEGMENT)),
        # null where single patches were labelled
        pa.field("points", pa.list_(POINT)),
        # of stage `label`, or the one of the segment table
        pa.field("error", ERROR),
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)

PREDICTIONS: Final = pa.schema(
    [
        *LABELS,
        # on demand: a PNG of 8 bits, at the size that the backbone saw: 255 times the softmax of
        # the class of each pixel
        pa.field("confidence", pa.binary()),
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)
"""A label table of fitted prototypes, which needs no segment table."""

EDITS: Final = pa.schema(
    [
        # of the segment table, as are the next four
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        # the picture, relative to the output, and its bytes
        pa.field("file", pa.string()),
        pa.field("file_size", pa.int64()),
        # mean alpha: the share of the image that the object has
        pa.field("coverage", pa.float32()),
        # true where the matting solver failed and the image's edges alone shaped the border
        pa.field("matting_fallback", pa.bool_()),
        # of stage `edit`, or the one of the segment table
        pa.field("error", ERROR),
    ],
    metadata={"schema_version": SCHEMA_VERSION},
)
