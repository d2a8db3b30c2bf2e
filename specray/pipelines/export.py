"""The export job: masks in the formats that people label and train with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from specray.checks import at_least
from specray.errors import UserError
from specray.pipelines.config import Method
from specray.pipelines.export_plan import FinishedState, read_finished_state
from specray.pipelines.export_record import claim, finish
from specray.pipelines.export_stream import stream_export
from specray.pipelines.exporting import ExportPart, part_rows
from specray.sources import Store, open_store
from specray.tables.classes import LabelClass, read_classes
from specray.tables.commit import drop
from specray.tables.exports import (
    CLASS,
    HOLDS_ALL_METHODS,
    NAMED,
    FormatName,
    Names,
    build_format,
    check_labels,
)
from specray.tables.run import NAME as RUN
from specray.tables.run import read_run

IN_ROWS: Final[dict[Method, str]] = {
    "objects": "object",
    "regions": "region",
    "instances": "instance",
    "superpixels": "superpixel",
    "primaps": "primap",
}
"""The methods as the ``segments`` column names them."""


@dataclass(frozen=True)
class ExportConfig:
    """Write the masks of a segment, label or predict run in a format that other tools read.

    coco: instances.json with compressed RLE. panoptic: COCO panoptic PNGs and JSON. voc: PASCAL
    VOC PNGs with a palette. ids: PNGs of 16 bits. parquet: one row per mask. hf: a Hugging Face
    data set with the photographs in it. yolo: YOLO-seg polygons. Images that are not exported are
    in skipped.jsonl, with the reason. Masks are of the upright picture: photographs with an EXIF
    orientation have to be read so.

    Of a label or predict run the masks are those of its classes, one of each in an image; classes
    of one name are one. A class keeps its id: it is category id + 1 in coco and panoptic, pixel id
    + 1 in ids, hf and voc (0: no class), and `index` in parquet and hf; yolo counts classes without
    gaps. export.json has the table.

    Try: specray export --input out/ --output coco/ --format coco

    Parameters
    ----------
    input
        Where the segment, label or predict job wrote: a folder or URI. Its last finished state is
        exported.
    output
        Where the export goes: a folder or URI of its own.
    format
        What to write.
    method
        Which masks of a segment run; absent = those that it named first (parquet: of all methods).
    classes
        As many classes of a label run, coarsened through its hierarchy; absent = all. A group has
        the id of its largest class.
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
    classes: int | None = None
    images: str | None = None
    endpoint: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        at_least(1, self, "classes")


def run_export(config: ExportConfig) -> dict[str, Any]:
    """Export the masks of a segment, label or predict run; see `ExportConfig`.

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
    method = _method(config, state)
    classes = _classes(config, state)
    record = claim(output, state, config.format, method, classes, overwrite=config.overwrite)

    names = state.names() if config.format in NAMED else Names()
    made_by = build_format(config.format, method, classes, names, photographs)
    methods = frozenset([method] if method else IN_ROWS.values())
    work = ExportPart(state.store, output, made_by, methods, classes)
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
    store = open_store(*_place_of_photographs(config, state.run))
    if config.format == "hf" and next(store.list(), None) is None:
        raise UserError(f"there is nothing at {store.uri}; say with --images where they are")
    return store


def _place_of_photographs(config: ExportConfig, run: dict[str, Any]) -> tuple[str, str | None]:
    """URI and endpoint; of a label run they are those of the segment run, unless it had others."""
    made, moved = run["configuration"], config.images
    if run["job"] == "label":
        moved, endpoint = moved or made["images"], config.endpoint or made["endpoint"]
        if moved is not None:
            return moved, endpoint
        segments = open_store(run["segments"], endpoint)
        segmented = read_run(segments)
        if segmented is None:
            raise UserError(
                f"the segments that were labelled are gone from {segments.uri}; say with --images "
                "where the photographs are"
            )
        made = segmented["configuration"]
    return moved or made["input"], config.endpoint or made["run"]["endpoint"]


def _check_apart(output: Store, segments: Store, photographs: Store) -> None:
    """Refuse an output among the photographs: its PNGs would be listed as such."""
    place = f"{output.uri.rstrip('/')}/"
    if place == f"{segments.uri.rstrip('/')}/" or output.exists(RUN):
        raise UserError(
            f"--output {output.uri} holds a run; choose a place of its own, such as "
            f"{output.uri.rstrip('/')}/export"
        )
    if place.startswith(f"{photographs.uri.rstrip('/')}/"):
        raise UserError(
            f"--output {output.uri} lies inside the images; choose a place outside of them"
        )


def _method(config: ExportConfig, state: FinishedState) -> str | None:
    """The masks to export as the rows name them; None for all."""
    if state.of_classes:
        if config.method is not None:
            raise UserError(f"{config.input} holds classes, not {config.method}; drop --method")
        return CLASS
    made: list[Method] = state.run["configuration"]["methods"]
    if config.method is None and config.format in HOLDS_ALL_METHODS:
        return None
    if not made:
        raise UserError(f"{config.input} has no masks; segment with --methods")
    method = config.method or made[0]
    if method not in made:
        raise UserError(
            f"{config.input} holds no {method}, but {', '.join(made)}; choose another --method, or "
            f"run specray segment with --methods {method}"
        )
    return IN_ROWS[method]


def _classes(config: ExportConfig, state: FinishedState) -> tuple[LabelClass, ...]:
    """Those of a label or predict run, and none of a segment run."""
    if state.of_classes:
        classes = read_classes(state.run, config.classes)
        check_labels(config.format, classes)
        return classes
    if config.classes is not None:
        raise UserError(f"{config.input} holds no classes; run specray label on it for --classes")
    return ()
