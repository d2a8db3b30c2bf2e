"""The train-primaps job: class prototypes from the principal masks of a segment run."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specray.errors import UserError
from specray.pipelines.derived import check_place, finished_run
from specray.pipelines.record import record_of
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.pipelines.training.inputs import Inputs, checked_inputs
from specray.sources import Store, open_store
from specray.tables.counts import ShardCounts
from specray.tables.run import NAME, read_run, write_run

if TYPE_CHECKING:
    from specray.pipelines.cluster import ResourcePlan
    from specray.pipelines.training.loop import TrainingPlan


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
    begin = time.monotonic()
    segments = open_store(config.input, config.endpoint)
    run = finished_run(segments)
    store = open_store(config.output, config.endpoint or run.configuration["run"]["endpoint"])
    check_place(store, "train-primaps", {"--input": segments})
    inputs = checked_inputs(config, run)
    record = _record(config, inputs, store)
    earlier = None if config.overwrite else read_run(store)
    if earlier is not None and earlier.get("status") == "finished":
        print(f"{store.uri} is finished; --overwrite trains anew", file=sys.stderr)
        result: dict[str, Any] = earlier["result"]
        return result
    if config.overwrite:
        _clear(store)
    # checkpoints of an attempt that was dropped are never continued
    record["attempt"] = (earlier or {}).get("attempt") or uuid.uuid4().hex
    write_run(store, record)
    found = _fit(config, inputs, store, record)
    result = {
        "job": "train-primaps",
        **found,
        "seconds": round(time.monotonic() - begin, 3),
        "output": config.output,
    }
    write_run(store, record | {"status": "finished", "result": result})
    return result


def _clear(store: Store) -> None:
    """Drop what an earlier run has left. The record goes first, or a kill would revive it."""
    from specray.pipelines.training.scalars import FOLDER

    if read_run(store) is not None:
        store.delete(NAME)
    for entry in list(store.list()):
        if entry.key.startswith(("checkpoints/", FOLDER, "prototypes")):
            store.delete(entry.key)


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
    return record_of("train-primaps", config, as_stored, store, overwrite=config.overwrite)


def _fit(
    config: TrainPrimapsConfig, inputs: Inputs, store: Store, record: dict[str, Any]
) -> dict[str, Any]:
    # a finished run does without Ray and torch
    import ray

    from specray.pipelines.cluster import plan_resources, ray_session
    from specray.pipelines.graph import divisor_up_to
    from specray.pipelines.training.checkpoint import TrainingState
    from specray.pipelines.training.planning import training_plan
    from specray.pipelines.training.publishing import publish

    with ray_session():
        resources = plan_resources(ray.cluster_resources(), config.device, config.num_workers)
        plan = training_plan(config, inputs, store, resources)
        workers = divisor_up_to(resources.actors, config.em.batch)
        checkpoint, metrics = _trained(config, plan, workers, resources, record["attempt"])
        with checkpoint.as_directory() as folder:
            state = TrainingState.load(Path(folder))
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


def _trained(
    config: TrainPrimapsConfig,
    plan: TrainingPlan,
    workers: int,
    resources: ResourcePlan,
    attempt: str,
) -> tuple[Any, dict[str, Any]]:
    """The last checkpoint of Ray Train, and what it was reported with."""
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from specray.pipelines.progress import Progress
    from specray.pipelines.tally import start_tally
    from specray.pipelines.training.loop import train
    from specray.sources import filesystem_of

    filesystem, path = filesystem_of(plan.output)
    tally = start_tally(1)
    trainer = TorchTrainer(
        train,
        train_loop_config={"plan": plan, "tally": tally},
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=resources.device == "cuda",
            resources_per_worker={"CPU": 1, "GPU": 1} if resources.device == "cuda" else {"CPU": 1},
        ),
        run_config=RunConfig(
            name=f"checkpoints/{attempt}",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    read = lambda: ray.get(tally.read.remote())  # noqa: E731
    with Progress(plan.steps, read, unit="batches"), _faults():
        result = trainer.fit()
    assert result.metrics is not None  # every attempt ends with a report
    return result.checkpoint, result.metrics


@contextmanager
def _faults() -> Iterator[None]:
    """Raise the `UserError` of a worker, or one line for workers that keep dying."""
    from ray.train import TrainingFailedError

    try:
        yield
    except TrainingFailedError as error:
        found = re.search(r"specray\.errors\.UserError: (.+)", str(error))
        if found:
            raise UserError(found[1]) from None
        last = str(error).strip().splitlines()[-1]
        raise UserError(
            f"workers died more often than --max-failures allows ({last}); the same command "
            "continues from the last checkpoint"
        ) from error
