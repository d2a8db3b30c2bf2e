"""The export job: masks in the formats that people label and train with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from specray.errors import UserError
from specray.pipelines.config import Method
from specray.pipelines.export_plan import FinishedState, read_finished_state
from specray.pipelines.export_record import claim, finish
from specray.pipelines.export_stream import stream_export
from specray.pipelines.exporting import ExportPart, part_rows
from specray.sources import Store, open_store
from specray.tables.commit import drop
from specray.tables.exports import (
    HOLDS_ALL_METHODS,
    NAMED,
    FormatName,
    Names,
    build_format,
)
from specray.tables.run import NAME as RUN

IN_ROWS: Final[dict[Method, str]] = {
    "objects": "object",
    "regions": "region",
    "instances": "instance",
}
"""The methods as the ``segments`` column names them."""


@dataclass(frozen=True)
class ExportConfig:
    """Write the masks of a segment run in a format that other tools read.

    coco: instances.json with compressed RLE. panoptic: COCO panoptic PNGs and JSON. voc: PASCAL
    VOC PNGs with a palette. ids: PNGs of 16 bits. parquet: one row per mask. hf: a Hugging Face
    data set with the photographs in it. yolo: YOLO-seg polygons. Images that are not exported are
    in skipped.jsonl, with the reason. Masks are of the upright picture: photographs with an EXIF
    orientation have to be read so.

    Try: specray export --input out/ --output coco/ --format coco

    Parameters
    ----------
    input
        Where the segment job wrote: a folder or URI. Its last finished state is exported.
    output
        Where the export goes: a folder or URI of its own.
    format
        What to write.
    method
        Which masks; absent = those that the run named first (parquet: of all methods).
    images
        Where the photographs are now; absent = where the run read them. Only hf reads them.
    endpoint
        URL of an S3-compatible store for s3:// URIs. Credentials come from the environment.
    overwrite
        Remove the files of an export that the output holds, and nothing else.
    """

    input: str
    output: str
    format: FormatName
    method: Method | None = None
    images: str | None = None
    endpoint: str | None = None
    overwrite: bool = False


def run_export(config: ExportConfig) -> dict[str, Any]:
    """Export the masks of a segment run; see `ExportConfig`.

    Returns
    -------
    dict
        Counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        There is no finished run or a part of it is gone, it has no such masks, the output holds
        something else: each before anything is written. A store does not answer.
    """
    start = time.monotonic()
    state = read_finished_state(open_store(config.input, config.endpoint))
    output = open_store(config.output, config.endpoint)
    photographs = _photographs(config, state)
    _check_apart(output, state.store, photographs)
    method = _method(config, state.run["configuration"]["methods"])
    record = claim(output, state, config.format, method, overwrite=config.overwrite)

    names = state.names() if config.format in NAMED else Names()
    made_by = build_format(config.format, method, names, photographs)
    methods = frozenset([method] if method else IN_ROWS.values())
    work = ExportPart(state.store, output, made_by, methods)
    parts = part_rows(state.parts(made_by), record["fingerprint"])
    found = stream_export(work, parts, state.images)
    state.check_current()
    result = {
        "images": found.images,
        "skipped": sum(found.skipped.values()),
        "skip_codes": dict(sorted(found.skipped.items())),
        "masks": found.masks,
        "files": found.files,
    }
    finish(output, record, result)
    drop(output, (part["receipt"] for part in parts))
    seconds = round(time.monotonic() - start, 3)
    told = {"seconds": seconds, "output": config.output}
    return {"job": "export", "format": config.format, **result, **told}


def _photographs(config: ExportConfig, state: FinishedState) -> Store:
    """Where the photographs are; an empty place is refused to a format that holds them."""
    made = state.run["configuration"]
    endpoint = config.endpoint or made["run"]["endpoint"]
    store = open_store(config.images or made["input"], endpoint)
    if config.format == "hf" and next(store.list(), None) is None:
        raise UserError(f"there is nothing at {store.uri}; say with --images where they are")
    return store


def _check_apart(output: Store, segments: Store, photographs: Store) -> None:
    """Refuse an output among the photographs: its PNGs would be listed as such."""
    place = f"{output.uri.rstrip('/')}/"
    if place == f"{segments.uri.rstrip('/')}/" or output.exists(RUN):
        raise UserError(
            f"--output {output.uri} holds a segment run; choose a place of its own, such as "
            f"{output.uri.rstrip('/')}/export"
        )
    if place.startswith(f"{photographs.uri.rstrip('/')}/"):
        raise UserError(
            f"--output {output.uri} lies inside the images; choose a place outside of them"
        )


def _method(config: ExportConfig, made: list[Method]) -> str | None:
    """The masks to export as the rows name them; None for all."""
    if config.method is None and config.format in HOLDS_ALL_METHODS:
        return None
    method = config.method or made[0]
    if method not in made:
        raise UserError(
            f"{config.input} holds no {method}, but {', '.join(made)}; choose another --method, or "
            f"run specray segment with --methods {method}"
        )
    return IN_ROWS[method]
