"""CPU time of the stages of the pass alone, in one process without Ray."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from specray.pipelines.benchmark.logical import SHARD_IMAGES, config_of
from specray.pipelines.benchmark.sleeping import sleeping_row, tiny_jpeg
from specray.pipelines.benchmark.synthetic import PATCH
from specray.pipelines.blocks import LISTED
from specray.pipelines.committing import Commit
from specray.pipelines.decoding import decoded_block, read_images
from specray.pipelines.segmenting import segment_block
from specray.sources import Blob, LocalStore, decode

REPEATS: Final = 5


def stage_costs() -> dict[str, float]:
    """Milliseconds of CPU for an image.

    Returns
    -------
    ``decode_ms`` of the JPEG alone; ``decode_stage_ms``, ``segment_stage_ms``, ``commit_stage_ms``
    of the functions of the stages around that, the engine, and the file.
    """
    data, config = tiny_jpeg(), config_of("")
    batch = config.run.batch_size
    listed = pa.table(
        {
            "shard": ["shards/0.parquet"] * batch,
            "shard_rows": [SHARD_IMAGES] * batch,
            "key": [f"{i:09}.jpg" for i in range(batch)],
        },
        schema=LISTED,
    )
    fetched = [(key, Blob(data, "0" * 32)) for key in listed["key"].to_pylist()]
    decoded = decoded_block(listed, read_images(config, PATCH, fetched))
    segmented = segment_block(decoded, lambda images: [sleeping_row() for _ in images])
    shard = pa.concat_tables([segmented] * (SHARD_IMAGES // batch))
    pixels = _cpu_ms(lambda: [decode(data, max_pixels=10**6) for _ in fetched], batch)
    read = _cpu_ms(lambda: decoded_block(listed, read_images(config, PATCH, fetched)), batch)
    segment = _cpu_ms(
        lambda: segment_block(decoded, lambda images: [sleeping_row() for _ in images]), batch
    )
    with tempfile.TemporaryDirectory() as folder:
        commit = _cpu_ms(lambda: Commit(LocalStore(folder))(shard), SHARD_IMAGES)
    return {
        "decode_ms": pixels,
        "decode_stage_ms": read - pixels,
        "segment_stage_ms": segment,
        "commit_stage_ms": commit,
    }


def _cpu_ms(call: Callable[[], Any], images: int) -> float:
    """The least of `REPEATS`, for one of the images."""
    call()
    spent = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return 1000 * min(spent) / images
