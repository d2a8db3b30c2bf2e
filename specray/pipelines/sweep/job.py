"""The sweep job: from labelled sets to a recommended default."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import pyarrow.parquet as pq

from specray.backbones import BackboneConfig
from specray.errors import UserError
from specray.pipelines.config import ImageConfig
from specray.pipelines.derived import check_place
from specray.pipelines.record import finish, record_of
from specray.pipelines.sweep.combinations import grid_of, papers_choice
from specray.pipelines.sweep.config import SetSource, SweepConfig
from specray.pipelines.sweep.evidence import Role, Scored, choose, score_table
from specray.pipelines.sweep.sets import LabelledSet, check_apart, labelled_set, named
from specray.pipelines.sweep.table import tables_of
from specray.pipelines.sweep.telling import evidence_of, in_lines, last_line_of
from specray.pipelines.weights import Weights, for_workers, load_weights
from specray.sources import Store, open_store
from specray.tables.report.sweep import build_sweep_report
from specray.tables.run import read_run, write_run

EVIDENCE: Final = "sweep.json"
SCORES: Final = "scores.parquet"


def run_sweep(config: SweepConfig) -> dict[str, Any]:
    """Score every combination, recommend one; see `SweepConfig`.

    Returns
    -------
    dict
        What is recommended, gains, counts, seconds and the location of the output: the job's last
        line.

    Raises
    ------
    UserError
        Weights that do not fit, a set that cannot be read or has nothing to score objects by, an
        output that holds something else: each before any image is worked on.
    """
    started = time.monotonic()
    names = _names(config)
    sets = _opened(config, config.sets.sources, names)
    held_out = _opened(config, config.held_out.sources, names[len(sets) :])
    check_apart(sets, held_out)
    weights = load_weights(_features(config), config.endpoint)
    store = open_store(config.output, config.endpoint)
    check_place(store, "sweep", {f"--input ({s.name})": s.store for s in (*sets, *held_out)})
    record = _record(config, weights, sets, held_out, store)
    earlier = None if config.overwrite else read_run(store)
    if earlier is not None and earlier.get("status") == "finished":
        print(f"{store.uri} is finished; --overwrite scores anew", file=sys.stderr)
        done: dict[str, Any] = earlier["result"]
        return done
    depth = _depth(config, weights)
    write_run(store, record)
    found = _swept(config, weights, depth, sets, held_out, store)
    found["seconds"] = round(time.monotonic() - started, 3)
    found["versions"] = record["versions"]
    store.write(EVIDENCE, json.dumps(found, indent=1, ensure_ascii=False).encode())
    build_sweep_report(store, found, record)
    return finish(store, record, last_line_of(found), started, config.output)


def _names(config: SweepConfig) -> list[str]:
    sources = [*config.sets.sources, *config.held_out.sources]
    truths = [source.truth for source in sources]
    return named([str(each.truth) for each in truths], [each.split for each in truths])


def _opened(
    config: SweepConfig, sources: Sequence[SetSource], names: Sequence[str]
) -> list[LabelledSet]:
    return [
        labelled_set(
            name, each.truth.open(config.endpoint), each.images, config.limit, config.endpoint
        )
        for name, each in zip(names, sources, strict=False)
    ]


def _features(config: SweepConfig) -> BackboneConfig:
    return BackboneConfig(
        backbone=config.backbone,
        weights=config.weights,
        precision=config.precision,
        accept_dinov3_licence=config.accept_dinov3_licence,
    )


def _record(
    config: SweepConfig,
    weights: Weights,
    sets: Sequence[LabelledSet],
    held_out: Sequence[LabelledSet],
    store: Store,
) -> dict[str, Any]:
    tree = dataclasses.asdict(config) | {"weights": weights.sha256}
    of_work = ("output", "num_workers", "device", "endpoint", "overwrite", "accept_dinov3_licence")
    decisive = {name: value for name, value in tree.items() if name not in of_work}
    decisive["images"] = [each.digest for each in (*sets, *held_out)]
    as_stored = json.loads(json.dumps(decisive))
    record = record_of("sweep", config, as_stored, store, overwrite=config.overwrite)
    return record | {"weights": {"source": weights.source, "sha256": weights.sha256}}


def _depth(config: SweepConfig, weights: Weights) -> int:
    """Blocks of the model; weights that do not fit are refused."""
    from specray.backbones.taps import build_taps  # a finished sweep does without torch

    taps = build_taps(_features(config), weights.data, weights.source, "cpu", [(0, "k")])
    for block in config.grid.blocks:
        if not -taps.depth <= block < taps.depth:
            raise UserError(f"--blocks {block}: this model has blocks 0 to {taps.depth - 1}")
    return taps.depth


def _swept(
    config: SweepConfig,
    weights: Weights,
    depth: int,
    sets: Sequence[LabelledSet],
    held_out: Sequence[LabelledSet],
    store: Store,
) -> dict[str, Any]:
    """Both passes, the tables, and all that ``sweep.json`` tells."""

    from specray.pipelines.cluster import ray_session
    from specray.pipelines.resources import plan_resources, usable
    from specray.pipelines.sweep.actor import SweepWork
    from specray.pipelines.sweep.passing import score_sets

    papers = papers_choice(depth)
    images = ImageConfig(image_size=config.image_size)
    work = SweepWork(
        for_workers(_features(config)),
        weights.sha256,
        grid_of(**dataclasses.asdict(config.grid), depth=depth),
        images.image_size,
        images.max_pixels,
        images.max_patches,
        config.endpoint,
    )
    with ray_session():
        plan = plan_resources(usable(), config.device, config.num_workers)
        scored = Scored(work.combinations, score_sets(sets, work, plan))
        choice = choose(scored, papers, config.seed)
        print(tables_of(scored, choice), file=sys.stderr)
        unseen = None
        if held_out:
            work = dataclasses.replace(work, combinations=choice.told)
            unseen = Scored(choice.told, score_sets(held_out, work, plan))
    found = evidence_of(config, weights, scored, choice, unseen)
    print(f"\n{in_lines(found)}", file=sys.stderr)
    store.write(SCORES, _parquet(scored, unseen))
    return found


def _parquet(scored: Scored, unseen: Scored | None) -> bytes:
    parts: list[tuple[Role, Scored]] = [("choice", scored)]
    if unseen is not None:
        parts.append(("held out", unseen))
    buffer = io.BytesIO()
    pq.write_table(score_table(parts), buffer)
    return buffer.getvalue()
