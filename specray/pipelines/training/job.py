"""The train-primaps job: class prototypes from the principal masks of a segment run."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from specray.pipelines.derived import check_place, finished_run
from specray.pipelines.record import finish, record_of
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.pipelines.training.inputs import Inputs, checked_inputs
from specray.pipelines.training.running import begin, run_training, training_resources
from specray.sources import Store, open_store
from specray.tables.counts import ShardCounts


def run_train_primaps(config: TrainPrimapsConfig) -> dict[str, Any]:
    """Fit prototypes; see `TrainPrimapsConfig`.

    Returns
    -------
    dict
        Counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        There is no finished run with proposals, fewer images than a batch, no room in the cluster,
        ground truth that is not there, workers that keep dying: what is there stays, the same
        command continues.
    """
    started = time.monotonic()
    segments = open_store(config.input, config.endpoint)
    run = finished_run(segments)
    store = open_store(config.output, config.endpoint or run.configuration["run"]["endpoint"])
    check_place(store, "train-primaps", {"--input": segments})
    inputs = checked_inputs(config, run)
    record = _record(config, inputs, store)
    done = begin(store, record, overwrite=config.workers.overwrite, made="prototypes")
    if done is not None:
        return done
    found = _fit(config, inputs, store, record)
    return finish(store, record, found, started, config.output)


def _record(config: TrainPrimapsConfig, inputs: Inputs, store: Store) -> dict[str, Any]:
    decisive = {
        "segments": inputs.run.record["fingerprint"],
        "manifest": inputs.run.manifest,
        "kept": inputs.kept,
        "runs": config.runs,
        "seed": config.seed,
        "em": dataclasses.asdict(config.em),
    }
    if inputs.others:
        decisive["proposals"] = [each.record["fingerprint"] for each in inputs.others]
    if inputs.validation is not None:
        decisive["truth"] = dataclasses.asdict(config.diagnosis) | {
            "validation": inputs.validation.record["fingerprint"],
            "validation_manifest": inputs.validation.manifest,
        }
    as_stored = json.loads(json.dumps(decisive))
    return record_of("train-primaps", config, as_stored, store, overwrite=config.workers.overwrite)


def _fit(
    config: TrainPrimapsConfig, inputs: Inputs, store: Store, record: dict[str, Any]
) -> dict[str, Any]:
    # a finished run does without Ray and torch
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.graph import divisor_up_to
    from specray.pipelines.training.loop import train
    from specray.pipelines.training.planning import training_plan
    from specray.pipelines.training.publishing import publish

    with ray_session():
        resources = training_resources(config.workers)
        plan = training_plan(config, inputs, store, resources)
        workers = divisor_up_to(resources.actors, config.em.batch)
        state, metrics = run_training(
            train, plan, store, record["attempt"], workers, resources, config.workers
        )
    best = publish(store, inputs, record, state)
    found = {
        "images": sum(len(group.rows) for group in plan.groups),
        "proposals": sum(inputs.run.counts.values(), ShardCounts()).points.get("primap", 0),
        "classes": config.em.classes,
        "runs": len(plan.start),
        "steps": state.number,
        "loss": [round(loss, 6) for loss in metrics["loss"]],
        "workers": workers,
        "features": "kept" if inputs.kept else "computed",
    }
    if "scores" in metrics:
        found["by_ground_truth"] = {"last": metrics["scores"], "best_momentum": best}
    return found
