"""The files that a training ends with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from specray.pipelines.training.checkpoint import TrainingState
from specray.pipelines.training.inputs import Inputs
from specray.semantics.prototypes.classifier import Classifier
from specray.semantics.prototypes.em import heads
from specray.sources import Store


def publish(
    store: Store, inputs: Inputs, record: dict[str, Any], state: TrainingState
) -> list[dict[str, Any]]:
    """Write the prototypes of every run, and where there is ground truth the best ones by it.

    Returns
    -------
    What is said of the best ones of every run: their step and scores.
    """
    run, trainer = inputs.run, state.trainer
    features = dict(run.record["decisive"]["features"]) | {
        "image_size": run.configuration["images"]["image_size"],
        "cell": run.record["cell"],
    }
    momentum = heads(trainer["momentum_vectors"], trainer["momentum_gains"])
    running = heads(trainer["vectors"], trainer["gains"])
    seeds = len(momentum) // (1 + len(inputs.others))
    best: list[dict[str, Any]] = []
    for number in range(len(momentum)):
        provenance = {
            "run": number,
            "proposals": (run, *inputs.others)[number // seeds].record["fingerprint"],
            "fingerprint": record["fingerprint"],
            "decisive": record["decisive"],
            "versions": record["versions"],
        }
        name = "prototypes" if number == 0 else f"prototypes-{number}"
        of_run = Classifier(_array(momentum[number]), _array(running[number]), features, provenance)
        store.write(f"{name}.safetensors", of_run.to_bytes())
        if state.diagnosis is not None:
            found = dict(state.diagnosis["best"][number])
            head = _array(found.pop("prototypes"))
            chosen = provenance | {"chosen_by_ground_truth": found}
            data = Classifier(head, head, features, chosen).to_bytes()
            store.write(f"{name}-best-by-ground-truth.safetensors", data)
            best.append(found)
    return best


def _array(head: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = head.numpy()
    return array
