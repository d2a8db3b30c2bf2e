"""The road once for every seed, and the scores of all of them together."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

from specray.pipelines.derived import check_place
from specray.pipelines.evaluate.job import run_evaluate
from specray.pipelines.record import finish
from specray.pipelines.road.config import PipelineConfig
from specray.sources import open_store
from specray.tables.run import package_versions, write_run


def run_seeds(
    config: PipelineConfig, go: Callable[[PipelineConfig], dict[str, Any]]
) -> dict[str, Any]:
    """Go the road for every seed of `RoadConfig.seeds`.

    Parameters
    ----------
    config
        Of all of them.
    go
        Goes the road of one seed.

    Returns
    -------
    dict
        Results by seed, and where there is ground truth their scores together: the last line.

    Raises
    ------
    UserError
        That of a road: those that are done stay, the same command continues.
    """
    started = time.monotonic()
    road = config.road
    store = open_store(road.output, road.endpoint)
    check_place(store, "run", {"--input": open_store(road.input, road.endpoint)})
    record = {
        "job": "run",
        "configuration": dataclasses.asdict(config),
        "versions": package_versions(),
    }
    write_run(store, record | {"status": "running"})
    results = {}
    for seed in road.seeds:
        print(f"── seed {seed}", file=sys.stderr, flush=True)
        place = f"{road.output.rstrip('/')}/seed-{seed}"
        one = dataclasses.replace(road, output=place, seed=seed, seeds=())
        results[str(seed)] = go(dataclasses.replace(config, road=one))
    found: dict[str, Any] = {"seeds": results}
    if config.evaluate.truth.truth is not None:
        print("── evaluate: all seeds", file=sys.stderr, flush=True)
        together = dataclasses.replace(
            config.evaluate,
            input=tuple(_scored_place(result) for result in results.values()),
            output=f"{road.output.rstrip('/')}/scores",
            endpoint=road.endpoint,
        )
        scores = run_evaluate(together)
        found |= {"scores": scores["output"], "figures": scores["figures"]}
    return finish(store, record, found, started, road.output)


def _scored_place(result: dict[str, Any]) -> str:
    """What of a road is scored in the end."""
    names = ("test_labels", "labels", "segments")
    place: str = next(result[name] for name in names if name in result)
    return place
