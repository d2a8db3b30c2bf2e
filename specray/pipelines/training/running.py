"""What the jobs that train on Ray Train have in common: attempts, checkpoints, deaths."""

from __future__ import annotations

import dataclasses
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specray.errors import UserError
from specray.sources import Store
from specray.tables.run import NAME, read_run, write_run

if TYPE_CHECKING:
    from specray.pipelines.config import WorkersConfig
    from specray.pipelines.resources import ResourcePlan
    from specray.pipelines.training.checkpoint import TrainingState

TENSORBOARD = "tensorboard/"
"""Folder of the scalars."""


def begin(
    store: Store, record: dict[str, Any], *, overwrite: bool, made: str
) -> dict[str, Any] | None:
    """Claim an output for a training, or say that it is done.

    Parameters
    ----------
    store
        The output.
    record
        Of the run; gets the name of its attempt.
    overwrite
        Drop what is there.
    made
        What the names of the files begin with that the job ends with.

    Returns
    -------
    The result of the run if it has finished, else None: it is to go on.
    """
    earlier = None if overwrite else read_run(store)
    if earlier is not None and earlier.get("status") == "finished":
        print(f"{store.uri} is finished; --overwrite trains anew", file=sys.stderr)
        result: dict[str, Any] = earlier["result"]
        return result
    if overwrite:
        _clear(store, made)
    # checkpoints of an attempt that was dropped are never continued
    record["attempt"] = (earlier or {}).get("attempt") or uuid.uuid4().hex
    write_run(store, record)
    return None


def _clear(store: Store, made: str) -> None:
    """Drop what an earlier run has left. The record goes first, or a kill would revive it."""
    if read_run(store) is not None:
        store.delete(NAME)
    for entry in list(store.list()):
        if entry.key.startswith(("checkpoints/", TENSORBOARD, made)):
            store.delete(entry.key)


def training_resources(config: WorkersConfig) -> ResourcePlan:
    """What the workers of a training have; with ``min_workers`` they need not all be there yet.

    Raises
    ------
    UserError
        As `plan_resources`.
    """
    import ray

    from specray.pipelines.resources import plan_resources

    there = ray.cluster_resources()
    if config.min_workers is None:
        return plan_resources(there, config.device, config.num_workers)
    least = plan_resources(there, config.device, config.min_workers)
    most = config.num_workers or plan_resources(there, config.device, None).actors
    return dataclasses.replace(least, actors=max(most, least.actors))


def run_training(
    loop: Callable[[dict[str, Any]], None],
    plan: Any,
    output: Store,
    attempt: str,
    workers: int,
    resources: ResourcePlan,
    config: WorkersConfig,
) -> tuple[TrainingState, dict[str, Any]]:
    """Have workers of Ray Train go through all steps, from the last checkpoint on.

    Parameters
    ----------
    loop
        Of a worker; it is given ``plan`` and ``tally``.
    plan
        What all workers are told; has ``steps``.
    output
        Where the checkpoints go.
    attempt
        Whose checkpoints to continue.
    workers, resources
        How many, each with a CPU core, and a GPU where there are any.
    config
        How few of them will do, and how often they may die.

    Returns
    -------
    The last checkpoint, and what it was reported with.

    Raises
    ------
    UserError
        That of a worker; workers that keep dying.
    """
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from specray.pipelines.progress import Progress
    from specray.pipelines.tally import start_tally
    from specray.pipelines.training.checkpoint import TrainingState
    from specray.sources import filesystem_of

    filesystem, path = filesystem_of(output)
    fewest = config.min_workers
    # a pair makes it elastic, which the types of Ray do not know yet
    count: Any = workers if fewest is None else (min(fewest, workers), workers)
    tally = start_tally(1)
    trainer = TorchTrainer(
        loop,
        train_loop_config={"plan": plan, "tally": tally},
        scaling_config=ScalingConfig(
            num_workers=count,
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
    assert result.metrics is not None and result.checkpoint is not None  # all end with a report
    with result.checkpoint.as_directory() as folder:
        return TrainingState.load(Path(folder)), result.metrics


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
