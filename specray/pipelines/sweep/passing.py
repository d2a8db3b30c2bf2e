"""The pass over all images of all sets: chunks through actors that hold the backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext

from specray.errors import UserError
from specray.pipelines.cluster import data_context
from specray.pipelines.faults import faults_as_user_errors
from specray.pipelines.progress import Progress
from specray.pipelines.resources import ResourcePlan
from specray.pipelines.sweep.actor import ScoreImages, SweepWork, chunks_of
from specray.pipelines.sweep.metrics import SetScores, metrics_of
from specray.pipelines.sweep.scoring import ImageScores
from specray.pipelines.sweep.sets import LabelledSet
from specray.tables.rows import Row


def score_sets(sets: Sequence[LabelledSet], work: SweepWork, plan: ResourcePlan) -> list[SetScores]:
    """Score all combinations on all images of some sets.

    The result does not depend on the number of actors. Of every image a byte per combination stays
    in memory, and 8 more where there are masks.

    Parameters
    ----------
    sets
        At least one.
    work
        What is compared.
    plan
        Actors, each with one thread, and their device.

    Raises
    ------
    UserError
        That of a set's ground truth, or not one image of a set could be scored.
    """
    chunks = [chunk for i, each in enumerate(sets) for chunk in chunks_of(i, each)]
    found: list[dict[int, Row]] = [{} for _ in sets]
    done, errors = 0, 0
    with (
        DataContext.current(data_context()),
        faults_as_user_errors(),
        Progress(sum(len(each.keys) for each in sets), lambda: (done, errors)),
    ):
        rows = ray.data.from_items(chunks, override_num_blocks=len(chunks)).flat_map(
            ScoreImages,
            fn_constructor_args=(work, plan.device),
            compute=ActorPoolStrategy(size=min(plan.actors, len(chunks))),
            num_cpus=1,
            num_gpus=int(plan.device == "cuda"),
        )
        for row in rows.iter_rows():
            found[row["set"]][row["place"]] = row
            done += 1
            errors += bool(row["code"])
    return [_collected(each, rows) for each, rows in zip(sets, found, strict=True)]


def _collected(labelled: LabelledSet, rows: Mapping[int, Row]) -> SetScores:
    ordered = [rows[place] for place in range(len(labelled.keys))]
    scores = [_scores(row) for row in ordered]
    metrics, units = metrics_of(scores, labelled.units)
    errors = [
        {"key": key, "code": row["code"], "message": row["message"]}
        for key, row in zip(labelled.keys, ordered, strict=True)
        if row["code"]
    ]
    if not metrics:
        first = f" (first: {errors[0]['key']}: {errors[0]['message']})" if errors else ""
        raise UserError(f"{labelled.name}: not one of {len(ordered)} images can be scored{first}")
    known = sum(each.hits is not None or each.ious is not None for each in scores)
    return SetScores(labelled.name, metrics, units, known, errors)


def _scores(row: Row) -> ImageScores:
    hits, ious = np.frombuffer(row["hits"], np.uint8), np.frombuffer(row["ious"], np.int64)
    return ImageScores(hits if len(hits) else None, ious if len(ious) else None)
