"""From a configuration and its inputs to what the workers are told."""

from __future__ import annotations

import dataclasses

from specray.backbones import BackboneConfig
from specray.pipelines.derived import SegmentRun
from specray.pipelines.resources import ResourcePlan
from specray.pipelines.training.alternatives import alternative
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.pipelines.training.diagnosis import DiagnosisPlan
from specray.pipelines.training.index import index_of
from specray.pipelines.training.inputs import Inputs
from specray.pipelines.training.loop import TrainingPlan
from specray.pipelines.training.pairs import PairFactory, Recomputed
from specray.pipelines.training.start import start
from specray.pipelines.truth import TruthMaps
from specray.pipelines.weights import for_workers
from specray.sources import Store, open_store


def training_plan(
    config: TrainPrimapsConfig, inputs: Inputs, output: Store, resources: ResourcePlan
) -> TrainingPlan:
    """Find the images, cluster where prototypes begin.

    Raises
    ------
    UserError
        As of `start`, `alternative`; files that are gone.
    """
    run = inputs.run
    groups = index_of(run.store, [shard.name for shard in run.shards])
    alternatives = [alternative(run, other) for other in inputs.others]
    recomputed = _recomputed(config, run)
    return TrainingPlan(
        segments=run.store,
        output=output,
        groups=groups,
        start=start(config, inputs, groups, recomputed, resources),
        em=config.em,
        seed=config.seed,
        cell=run.record["cell"],
        image_size=run.configuration["images"]["image_size"],
        pairs=PairFactory(None if inputs.kept else recomputed),
        alternatives=alternatives,
        diagnosis=_diagnosis(config, inputs.validation),
        device=resources.device,
        checkpoint_every=config.workers.checkpoint_every,
    )


def _recomputed(config: TrainPrimapsConfig, run: SegmentRun) -> Recomputed:
    made = run.configuration
    features = BackboneConfig(**made["features"])
    features = dataclasses.replace(
        features,
        weights=config.weights or features.weights,
        projection=config.projection or features.projection,
    )
    features = for_workers(features)
    endpoint = config.endpoint or made["run"]["endpoint"]
    return Recomputed(
        open_store(config.images or made["input"], endpoint),
        features,
        run.record["weights"]["sha256"],
        run.record["decisive"]["features"].get("projection"),
        endpoint,
        config.seed,
        made["views"]["jitter"],
        made["images"]["max_pixels"],
        made["images"]["image_size"],
    )


def _diagnosis(config: TrainPrimapsConfig, run: SegmentRun | None) -> DiagnosisPlan | None:
    truth = config.diagnosis
    if run is None:
        return None
    endpoint = config.endpoint or run.configuration["run"]["endpoint"]
    of_training = truth.maps(endpoint)
    if of_training is None:
        return None
    of_validation = of_training
    if truth.validation_truth is not None:
        of_validation = TruthMaps(open_store(truth.validation_truth, endpoint), truth.space)
    return DiagnosisPlan(
        of_training,
        of_validation,
        run.store,
        index_of(run.store, [shard.name for shard in run.shards]),
        run.record["cell"],
        run.configuration["images"]["image_size"],
    )
