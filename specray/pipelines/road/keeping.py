"""What was trained on an earlier state of the labels: keep it, or train it anew."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any, Final

from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.sources import open_store
from specray.tables.run import read_run

Training = TrainPrimapsConfig | TrainSegmenterConfig

_SETTINGS: Final = ("network", "training", "em", "runs", "seed")
"""What decides a training besides the labels and weights, of either kind."""
_LEARNT_FROM: Final = ("segments", "labels")
"""Names of the fingerprints, in records of trainings, of the runs that they have learnt from."""


def kept(training: Training, *, retrain: bool) -> tuple[dict[str, Any] | None, bool]:
    """Whether a training that is there is to stay as it is.

    Parameters
    ----------
    training
        What it would be now.
    retrain
        Whether other images are a reason to train anew.

    Returns
    -------
    result
        Of the training that stays; None: it is to run.
    overwrite
        Whether it then drops what is there.
    """
    there = read_run(open_store(training.output, training.endpoint))
    now = read_run(open_store(training.input, training.endpoint))
    if there is None or now is None:
        return None, training.workers.overwrite
    made = there["decisive"]
    learnt_from = next(made[name] for name in _LEARNT_FROM if name in made)
    if learnt_from != now["fingerprint"]:
        return None, True  # other classes, or another way to find them
    if made["manifest"] == now["manifest"] or not _as_before(training, there["configuration"]):
        return None, training.workers.overwrite  # done, or refused, by the job itself
    if there["status"] != "finished" or retrain:
        return None, True  # on images that are not all there any more
    print(
        f"{training.output} was trained before images were added or changed; it is kept "
        "(--retrain trains anew)",
        file=sys.stderr,
    )
    result: dict[str, Any] = there["result"]
    return result, False


def _as_before(training: Training, made: dict[str, Any]) -> bool:
    """Whether the settings are those of a configuration that is on record."""
    now = json.loads(json.dumps(dataclasses.asdict(training)))
    return all(now[name] == made.get(name) for name in _SETTINGS if name in now)


def of_another_model(predict: PredictConfig, sha256: str) -> bool:
    """Whether the maps that are there are by another model than the one of this digest."""
    there = read_run(open_store(predict.output, predict.run.endpoint))
    if there is None:
        return False
    made = there.get("decisive", {})
    return sha256 not in (made.get("segmenter"), made.get("prototypes"))


def overwriting(predict: PredictConfig) -> PredictConfig:
    """The same, but what is there goes."""
    return dataclasses.replace(predict, run=dataclasses.replace(predict.run, overwrite=True))
