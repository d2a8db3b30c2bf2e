"""The edit job: the objects of a segment run, cut out of their photographs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from PIL import ImageColor

from specray.checks import at_least, share
from specray.errors import ErrorCode, ImageError, Stage, UserError
from specray.masks.matting.config import MattingConfig
from specray.pipelines.config import PictureFormat
from specray.pipelines.error_limit import check_errors
from specray.pipelines.output import Output
from specray.pipelines.record import finished_manifest, record_of
from specray.sources import Store, decode, open_parent, open_store
from specray.tables.commit import committed_shards, drop, list_shards, read_shard
from specray.tables.counts import ShardCounts
from specray.tables.run import read_run, refine_method
from specray.tables.schema import SCHEMA_VERSION
from specray.tables.shards import Shard, plan_shards

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
    run, manifest = _finished_run(segments)
    made = run["configuration"]
    endpoint = config.endpoint or made["run"]["endpoint"]
    images = open_store(config.images or made["input"], endpoint)
    store = open_store(config.output, endpoint)
    _check_place(store, segments, images)
    max_pixels = made["images"]["max_pixels"]
    background = _background(config.background, endpoint, max_pixels)
    record = _new_record(config, run, background, store)
    sources = plan_shards(segments, manifest, run["fingerprint"])
    counts_of_sources = _counts(segments, sources)

    record["manifest"] = _copied(manifest, segments, store)
    output = _begin(config, store, record)
    # the same images in the same shards: theirs and ours go in pairs
    pairs = dict(zip((shard.name for shard in output.shards), sources, strict=True))
    outdated = _outdated(output, store, segments, pairs, counts_of_sources)
    missing = output.missing(config.retry, outdated)
    _say(output, missing)
    counts = output.counts_without(missing)
    work: dict[str, Any] = {}
    if missing:
        edit = EditImage(store, config.format, background, max_pixels, config.matting)
        todo = [(shard, pairs[shard.name].name) for shard in missing]
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


def _finished_run(segments: Store) -> tuple[dict[str, Any], list[str]]:
    """The record of a segment run, and the manifest of its last finished state."""
    run = read_run(segments)
    if run is None or run.get("job") != "segment":
        raise UserError(f"{segments.uri} holds no segment run; run specray segment first")
    manifest = finished_manifest(run)
    if manifest is None:
        raise UserError(f"the run at {segments.uri} has not finished; run its command again first")
    if "objects" not in run["configuration"]["methods"]:
        raise UserError(f"the run at {segments.uri} looked for no objects; see its --methods")
    return run, manifest


def _check_place(output: Store, segments: Store, images: Store) -> None:
    """Refuse an output among other files, and, also to overwrite, that of another job."""
    place = f"{output.uri.rstrip('/')}/"
    for flag, other in (("--input", segments), ("--images", images)):
        if place.startswith(f"{other.uri.rstrip('/')}/"):
            raise UserError(f"--output {output.uri} lies inside {flag}; choose a place outside")
    there = read_run(output)
    if there is not None and there.get("job") != "edit":
        raise UserError(f"{output.uri} holds the output of another job; use another --output")


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
    run: Mapping[str, Any],
    background: tuple[int, int, int] | bytes | None,
    output: Store,
) -> dict[str, Any]:
    """The record of the run before it begins; see `record_of`."""
    seen: Any = background
    if isinstance(background, bytes):
        seen = hashlib.sha256(background).hexdigest()
    decisive = {
        "segments": run["fingerprint"],
        "background": seen,
        "format": config.format,
        "objects": config.objects,
        "matting": dataclasses.asdict(config.matting),
        "schema_version": SCHEMA_VERSION,
    }
    as_stored = json.loads(json.dumps(decisive))
    return record_of("edit", config, as_stored, output, overwrite=config.overwrite)


def _copied(manifest: Sequence[str], segments: Store, output: Store) -> list[str]:
    """Copy a manifest: the output then tells by itself what it is of."""
    for part in manifest:
        try:
            output.write(part, segments.read(part).data)
        except ImageError as error:
            raise UserError(
                f"cannot read {part} in {segments.uri} ({error.message}): another run has "
                "finished there; run the same command again"
            ) from None
    return list(manifest)


def _begin(config: EditConfig, store: Store, record: dict[str, Any]) -> Output:
    output = Output(store, record)
    if config.overwrite:
        _drop_pictures(store, list_shards(store), keep=())
        output.clear()
    output.begin()
    return output


def _counts(segments: Store, shards: Sequence[Shard]) -> Mapping[str, ShardCounts]:
    """What the shards of a segment table say of themselves, by name."""
    counts = committed_shards(segments, shards)
    if len(counts) < len(shards):
        raise UserError(
            f"{len(shards) - len(counts)} shards of {segments.uri} are gone or damaged; run the "
            "same specray segment command again, then this one"
        )
    return counts


def _outdated(
    output: Output,
    store: Store,
    segments: Store,
    pairs: Mapping[str, Shard],
    counts: Mapping[str, ShardCounts],
) -> dict[str, frozenset[str]]:
    """Per committed shard, keys of images that have got segments since: by segment --retry.

    Good rows of a segment table stay as they are, so their number tells whether there are more.
    """
    return {
        name: _errors(store, name) & _good(segments, pairs[name].name)
        for name, committed in output.committed.items()
        if committed.inherited != counts[pairs[name].name].errors
    }


def _errors(store: Store, name: str) -> frozenset[str]:
    """Keys of the rows of a shard of edits whose errors are those of its segment table."""
    rows = read_shard(store, name, ["key", "error"])
    found = [] if rows is None else rows.to_pylist()
    return frozenset(
        row["key"] for row in found if row["error"] and row["error"]["stage"] != Stage.EDIT
    )


def _good(segments: Store, name: str) -> frozenset[str]:
    rows = read_shard(segments, name, ["key", "error"])
    found = [] if rows is None else rows.to_pylist()
    return frozenset(row["key"] for row in found if row["error"] is None)


def _drop_pictures(store: Store, shards: Iterable[str], keep: Iterable[str]) -> None:
    """Remove the pictures of shards that go, but for those that shards which stay name as well."""
    kept = {file for name in keep for file in _pictures(store, name)}
    for name in shards:
        drop(store, [file for file in _pictures(store, name) if file not in kept])


def _pictures(store: Store, name: str) -> list[str]:
    rows = read_shard(store, name, ["file"])
    return [] if rows is None else rows["file"].drop_null().to_pylist()


def _say(output: Output, missing: Sequence[Shard]) -> None:
    images = sum(shard.rows for shard in output.shards)
    print(
        f"{images:,} images in {len(output.shards):,} shards, {len(missing):,} shards with "
        f"{sum(shard.work for shard in missing):,} images to do",
        file=sys.stderr,
    )


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
    from specray.pipelines.editing import EditPass
    from specray.pipelines.segmented_source import Wanted

    in_cells = refine_method(made) == "none"
    wanted = Wanted(segments, config.objects == "all", cells=in_cells)
    with ray_session():
        return EditPass(wanted, images, edit, todo, config.num_workers, config.max_error_rate).run()
