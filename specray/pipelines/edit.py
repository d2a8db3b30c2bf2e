"""The edit job: the objects of a segment run, cut out of their photographs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from PIL import ImageColor

from specray.checks import at_least, share
from specray.errors import ErrorCode, ImageError, Stage, UserError
from specray.masks.matting.config import MattingConfig
from specray.pipelines.config import PictureFormat
from specray.pipelines.derived import DerivedOutput, SegmentRun, check_place, finished_run
from specray.pipelines.error_limit import check_errors
from specray.pipelines.record import record_of
from specray.sources import Store, decode, open_parent, open_store
from specray.tables.commit import drop, list_shards, read_shard
from specray.tables.counts import ShardCounts
from specray.tables.run import refine_method
from specray.tables.schema import SCHEMA_VERSION
from specray.tables.shards import Shard

if TYPE_CHECKING:
    from specray.pipelines.edit_image import EditImage


@dataclass(frozen=True)
class EditConfig:
    """Cut the objects of a segment run out of their photographs; write pictures and a table.

    Alpha follows hair and fur: a band along the border of each mask is decided by closed-form
    matting. Writes one picture per image, of the size of the photograph, and one row per image,
    good or bad. The same command again does only what is missing, or has changed.

    Try: specray edit --input out/ --output cutouts/

    Parameters
    ----------
    input
        Where the segment job wrote: a folder or URI. Its last finished state is edited.
    output
        Where pictures and table go: a folder or URI of its own.
    images
        Where the photographs are now; absent = where the run read them.
    background
        What to lay the objects on: `transparent`, a colour (`white`, `#rrggbb`), or an image (path
        or URI) that is scaled to cover each photograph.
    format
        Of the pictures: png loses nothing; webp (quality 90) is a quarter of its size.
    objects
        Object 0 of each image (main), or all of its objects.
    num_workers
        Images in hand at a time; absent = one per CPU core. Each may take 60 bytes per pixel.
    max_error_rate
        Stop when more than this share of the images become error rows, as in `specray segment`.
    retry
        Do again those error rows that have one of these codes, besides what is missing.
    endpoint
        URL of an S3-compatible store for s3:// URIs; absent = the one of the run. Credentials come
        from the environment.
    overwrite
        Drop what the output holds instead of continuing it.
    """

    input: str
    output: str
    images: str | None = None
    background: str = "transparent"
    format: PictureFormat = "png"
    objects: Literal["main", "all"] = "main"
    num_workers: int | None = None
    max_error_rate: float = 0.5
    retry: tuple[ErrorCode, ...] = ()
    endpoint: str | None = None
    overwrite: bool = False
    matting: MattingConfig = field(default_factory=MattingConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "num_workers")
        share(self, "max_error_rate")


def run_edit(config: EditConfig) -> dict[str, Any]:
    """Cut out the objects of a segment run; see `EditConfig`.

    Returns
    -------
    dict
        Counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        There is no finished run or a part of it is gone, it has no objects, the output holds
        something else, the background is no image: each before any image is worked on. A store
        that is down, too many error rows: what was committed stays, the same command continues.
    """
    # pymatting compiles itself when it is first imported, which takes a minute
    from specray.pipelines.edit_image import EditImage

    start = time.monotonic()
    segments = open_store(config.input, config.endpoint)
    run = finished_run(segments)
    made = run.configuration
    if "objects" not in made["methods"]:
        raise UserError(f"the run at {segments.uri} looked for no objects; see its --methods")
    endpoint = config.endpoint or made["run"]["endpoint"]
    images = open_store(config.images or made["input"], endpoint)
    store = open_store(config.output, endpoint)
    check_place(store, "edit", {"--input": segments, "--images": images})
    max_pixels = made["images"]["max_pixels"]
    background = _background(config.background, endpoint, max_pixels)
    record = _new_record(config, run, background, store)
    output = _begin(config, store, record, run)
    missing = output.missing(config.retry)
    counts = output.counts_without(missing)
    work: dict[str, Any] = {}
    if missing:
        edit = EditImage(store, config.format, background, max_pixels, config.matting)
        todo = output.with_sources(missing)
        fresh, work = _stream(config, made, segments, images, edit, todo)
        counts += fresh
    check_errors(counts, config.max_error_rate)
    if output.stale:
        _drop_pictures(store, output.stale, keep=[shard.name for shard in output.shards])
    result = {
        "job": "edit",
        "images": counts.images,
        "pictures": counts.images - counts.errors,
        "errors": counts.errors,
        "error_codes": dict(sorted(counts.codes.items())),
        "matting_fallbacks": counts.matting_fallbacks,
        "bytes": counts.bytes + counts.file_bytes,
        "shards": len(output.shards),
        "new_images": sum(shard.work for shard in missing),
        **work,
        "input_changes": output.changes,
        "seconds": round(time.monotonic() - start, 3),
        "output": config.output,
    }
    output.finish(result)
    return result


def _background(
    text: str, endpoint: str | None, max_pixels: int
) -> tuple[int, int, int] | bytes | None:
    """None for transparency, a colour, or the bytes of an image."""
    if text == "transparent":
        return None
    try:
        red, green, blue, *_ = ImageColor.getrgb(text)
        return red, green, blue
    except ValueError:
        pass
    store, key = open_parent(text, endpoint)
    try:
        data = store.read(key).data
        decode(data, max_pixels=max_pixels)
    except ImageError as error:
        raise UserError(
            f"--background {text} is neither transparent, nor a colour such as white or #00ff00,"
            f" nor an image that can be read ({error.message})"
        ) from None
    return data


def _new_record(
    config: EditConfig,
    run: SegmentRun,
    background: tuple[int, int, int] | bytes | None,
    output: Store,
) -> dict[str, Any]:
    """The record of the run before it begins; see `record_of`."""
    seen: Any = background
    if isinstance(background, bytes):
        seen = hashlib.sha256(background).hexdigest()
    decisive = {
        "segments": run.record["fingerprint"],
        "background": seen,
        "format": config.format,
        "objects": config.objects,
        "matting": dataclasses.asdict(config.matting),
        "schema_version": SCHEMA_VERSION,
    }
    as_stored = json.loads(json.dumps(decisive))
    return record_of("edit", config, as_stored, output, overwrite=config.overwrite)


def _begin(
    config: EditConfig, store: Store, record: dict[str, Any], run: SegmentRun
) -> DerivedOutput:
    output = DerivedOutput(store, record, run, Stage.EDIT)
    if config.overwrite:
        _drop_pictures(store, list_shards(store), keep=())
        output.clear()
    output.begin()
    return output


def _drop_pictures(store: Store, shards: Iterable[str], keep: Iterable[str]) -> None:
    """Remove the pictures of shards that go, but for those that shards which stay name as well."""
    kept = {file for name in keep for file in _pictures(store, name)}
    for name in shards:
        drop(store, [file for file in _pictures(store, name) if file not in kept])


def _pictures(store: Store, name: str) -> list[str]:
    rows = read_shard(store, name, ["file"])
    return [] if rows is None else rows["file"].drop_null().to_pylist()


def _stream(
    config: EditConfig,
    made: Mapping[str, Any],
    segments: Store,
    images: Store,
    edit: EditImage,
    todo: Sequence[tuple[Shard, str]],
) -> tuple[ShardCounts, dict[str, Any]]:
    # Ray takes seconds and half a gigabyte, which a finished run does without.
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.edit_places import Wanted
    from specray.pipelines.editing import EditPass

    in_cells = refine_method(made) == "none"
    wanted = Wanted(segments, config.objects == "all", cells=in_cells)
    with ray_session():
        return EditPass(wanted, images, edit, todo, config.num_workers, config.max_error_rate).run()
