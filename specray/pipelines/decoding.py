"""The first stage: places of the stream to pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pyarrow as pa
import ray

from specray.errors import ErrorCode, ImageError, Stage, UserError, unforeseen
from specray.pipelines.blocks import DECODED
from specray.pipelines.config import SegmentConfig
from specray.pipelines.isolation import SUSPICIOUS, Died, deadline, each_alone
from specray.pipelines.preparing import check_grid
from specray.sources import Blob, Store, decode, image_size, resized_size
from specray.tables.rows import Row, error_row

FETCH_THREADS: Final = 8
"""Objects that one task requests at a time: latency of the store, not CPU."""

Fetched = tuple[str, Blob | ImageError]


@dataclass(frozen=True)
class Decode:
    """Fetch and decode images; faults become ``error``."""

    store: Store
    config: SegmentConfig
    patch_size: int
    tally: Any

    def __call__(self, listed: pa.Table) -> pa.Table:
        """A block of `LISTED` to one of `DECODED`."""
        keys = listed["key"].drop_null().to_pylist()
        if not keys:
            return decoded_block(listed, iter(()))
        deaths = ray.get(self.tally.begin.remote("decode", keys[0], len(keys)))
        read = partial(read_images, self.config, self.patch_size)
        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            fetched = zip(keys, pool.map(partial(fetch, self.store), keys), strict=True)
            decoded = decoded_block(listed, read(fetched, alone=deaths >= SUSPICIOUS))
        self.tally.end.remote("decode", keys[0])
        return decoded


def read_images(
    config: SegmentConfig, patch_size: int, fetched: Iterable[Fetched], *, alone: bool = False
) -> Iterable[Row]:
    """One row of `DECODED` per image; `alone`: each in a process that it may end."""
    work = partial(_decode, config, patch_size)
    if not alone:
        for item in fetched:
            with deadline():
                row = work(item)
            yield row
        return
    items = list(fetched)
    make: Callable[[], Callable[[Fetched], Row]] = partial(partial, work)
    for (key, _), result in zip(items, each_alone(make, items), strict=True):
        yield crashed(key, Stage.DECODE, result) if isinstance(result, Died) else result


def fetch(store: Store, key: str) -> Blob | ImageError:
    """The bytes of an image, or why there are none."""
    try:
        return store.read(key)
    except ImageError as error:
        return error


def crashed(key: str, stage: Stage, death: Died) -> Row:
    """The row of an image that ends its process."""
    message = f"its process ended each time it was tried alone: {death.reason}"
    return {"key": key, "error": error_row(ImageError(ErrorCode.CRASHED, stage, message))}


def _decode(config: SegmentConfig, patch_size: int, fetched: Fetched) -> Row:
    key, blob = fetched
    if isinstance(blob, ImageError):
        return {"key": key, "error": error_row(blob)}
    row: Row = {"key": key, "size": len(blob.data), "etag": blob.etag}
    try:
        return row | _pixels(config, patch_size, key, blob.data, row)
    except ImageError as error:
        return row | {"error": error_row(error)}
    except UserError:
        raise
    except Exception as error:
        return row | {"error": error_row(unforeseen(error, Stage.DECODE))}


def _pixels(config: SegmentConfig, patch_size: int, key: str, data: bytes, row: Row) -> Row:
    """The decoded image; the size goes into `row` as soon as it is known."""
    images = config.images
    height, width = image_size(data)
    row |= {"height": height, "width": width}
    if height * width <= images.max_pixels:  # else decode refuses, with the better reason
        seen = resized_size(height, width, images.image_size)
        check_grid(*seen, patch_size, images.max_patches, config.spectral.cell(patch_size))
    image = decode(data, max_pixels=images.max_pixels, short_side=images.image_size)
    found = {
        "height": image.height,
        "width": image.width,
        "pixels_h": image.pixels.shape[0],
        "pixels_w": image.pixels.shape[1],
        "pixels": image.pixels.tobytes(),
    }
    side = config.refinement.short_side(image.pixels.shape[:2], height, width)
    if side is not None:
        fine = decode(data, max_pixels=images.max_pixels, short_side=side).pixels
        found |= {"fine_h": fine.shape[0], "fine_w": fine.shape[1], "fine": fine.tobytes()}
    return found


def decoded_block(listed: pa.Table, rows: Iterable[Row]) -> pa.Table:
    """The rows at their places: a block of `LISTED` to one of `DECODED`."""
    found = iter(rows)
    full = [place if place["key"] is None else place | next(found) for place in listed.to_pylist()]
    return pa.Table.from_pylist(full, schema=DECODED)
