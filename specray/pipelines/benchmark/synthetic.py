"""A finished segment run of any size over images that there are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pyarrow as pa

from specray.pipelines.config import SegmentConfig
from specray.pipelines.output import Output
from specray.pipelines.record import new_record
from specray.pipelines.weights import Weights
from specray.sources import Entry, open_store, read_manifest, write_manifest
from specray.tables.commit import commit_shard

PATCH: Final = 16
"""Pixels of a cell."""


def write_run(
    config: SegmentConfig, images: int, rows_of: Callable[[pa.Table, str], pa.Table]
) -> int:
    """Write its output; memory holds one shard.

    Parameters
    ----------
    config
        Of the run; the descriptor is its backbone.
    images
        Rows.
    rows_of
        Those of the segment schema, of a shard of the manifest and the name of the shard.

    Returns
    -------
    Bytes of its shards.
    """
    store = open_store(config.output)
    record = new_record(config, open_store(config.input), store, Weights())
    record["cell"] = PATCH
    entries = (Entry(f"{i:09}.jpg", 10**6, f"{i:032x}") for i in range(images))
    record["manifest"] = write_manifest(entries, store, config.run.shard_size)
    whole = Output(store, record)
    whole.begin()
    written = 0
    for shard, listed in zip(whole.shards, read_manifest(store, record["manifest"]), strict=True):
        written += commit_shard(store, shard.name, rows_of(listed, shard.name)).bytes
    whole.finish({"images": images})
    return written
