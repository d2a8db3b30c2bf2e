"""Photographs that are read again after they were segmented."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numba
import ray
from threadpoolctl import threadpool_limits

from specray.errors import ErrorCode, ImageError, Stage
from specray.pipelines.decoding import crashed, fetch
from specray.pipelines.isolation import SUSPICIOUS, Died, deadline, each_alone
from specray.sources import Blob, DecodedImage, Store, decode
from specray.tables.rows import Row

FETCH_THREADS: Final = 4
"""Photographs that a task requests at a time."""

Item = tuple[Row, Blob | ImageError]
Work = Callable[[Row, Blob | ImageError], Row]
"""From a row and its photograph to what the row does not yet say. Faults become ``error``."""


@dataclass(frozen=True)
class Revisit:
    """Does some work on the photographs of rows.

    Parameters
    ----------
    images
        Where the photographs are.
    work
        On one of them; it is sent to other processes.
    stage
        Of its errors.
    tally
        See `start_tally`.
    """

    images: Store
    work: Work
    stage: Stage
    tally: Any

    def __call__(self, rows: Sequence[Row]) -> dict[str, Row]:
        """What the work found, by key; rows with an error or without a key are passed over."""
        keys = [row["key"] for row in rows if row["key"] is not None]
        if not keys:
            return {}
        deaths = ray.get(self.tally.begin.remote(str(self.stage), keys[0], len(keys)))
        good = [row for row in rows if row["key"] is not None and row["error"] is None]
        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            blobs = pool.map(partial(fetch, self.images), [row["key"] for row in good])
            items = list(zip(good, blobs, strict=True))
        found = {row["key"]: row for row in self._found(items, deaths >= SUSPICIOUS)}
        faulty = sum((row | found.get(row["key"], {}))["error"] is not None for row in rows)
        self.tally.end.remote(str(self.stage), keys[0], len(keys), faulty)
        return found

    def _found(self, items: Sequence[Item], alone: bool) -> Iterator[Row]:
        if not alone:
            work = single_threaded(self.work)
            for item in items:
                with deadline():
                    row = work(item)
                yield row
            return
        make: Callable[[], Callable[[Item], Row]] = partial(single_threaded, self.work)
        for (place, _), result in zip(items, each_alone(make, items), strict=True):
            yield crashed(place["key"], self.stage, result) if isinstance(result, Died) else result


def single_threaded(work: Work) -> Callable[[Item], Row]:
    """Work with its key, on one thread: more workers use more cores."""

    def alone(item: Item) -> Row:
        place, blob = item
        numba.set_num_threads(1)
        with threadpool_limits(1):
            return {"key": place["key"], **work(place, blob)}

    return alone


def decode_again(
    place: Row, blob: Blob | ImageError, max_pixels: int, short_side: int | None = None
) -> DecodedImage:
    """The photograph of a row, if it still is the one that was segmented.

    Parameters
    ----------
    place
        With ``size``, ``etag``, ``width`` and ``height``.
    blob
        The photograph as it is now.
    max_pixels, short_side
        As of `decode`.

    Raises
    ------
    ImageError
        It cannot be had, or is another.
    """
    if isinstance(blob, ImageError):
        raise blob
    if not _is_same(place, blob):
        raise _changed(f"it had the ETag {place['etag']}, now {blob.etag}")
    image = decode(blob.data, max_pixels=max_pixels, short_side=short_side)
    before, now = (place["height"], place["width"]), (image.height, image.width)
    if before != now:
        raise _changed(f"it had {before} pixels, now {now}")
    return image


def _is_same(place: Row, blob: Blob) -> bool:
    """Whether an image has the bytes that were segmented, as far as its ETag tells.

    The ETag of an object that a bucket took in parts says nothing of a copy of it elsewhere; then
    the number of bytes has to do.
    """
    etag = place["etag"]
    if len(blob.data) != place["size"]:
        return False
    if etag == blob.etag:
        return True
    in_parts = "-" in etag and "-" not in blob.etag
    return in_parts or hashlib.md5(blob.data, usedforsecurity=False).hexdigest() == etag


def _changed(message: str) -> ImageError:
    return ImageError(ErrorCode.CHANGED, Stage.DECODE, message)
