"""The train-segmenter job: self-training on the semantic maps of a label or predict run."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from specray.backbones import BackboneConfig
from specray.errors import UserError
from specray.pipelines.derived import check_place
from specray.pipelines.labelled import LabelRun, label_run
from specray.pipelines.record import finish, record_of
from specray.pipelines.segmenter.config import TrainSegmenterConfig
from specray.pipelines.training.running import begin, run_training, training_resources
from specray.pipelines.weights import Weights, for_workers, load_weights
from specray.semantics.segmenter.loss import class_weights
from specray.semantics.segmenter.segmenter_file import Segmenter
from specray.sources import Store, open_store
from specray.tables.counts import ShardCounts


def run_train_segmenter(config: TrainSegmenterConfig) -> dict[str, Any]:
    """Train a segmenter; see `TrainSegmenterConfig`.

    Returns
    -------
    dict
        Counts, seconds and the location of the output: the job's last line.

    Raises
    ------
    UserError
        There is no finished run with labels, fewer images than a batch, weights that do not fit,
        no room in the cluster, workers that keep dying: what is there stays, the same command
        continues.
    """
    started = time.monotonic()
    labels = label_run(config.input, config.images, config.endpoint)
    endpoint = config.endpoint or labels.endpoint
    store = open_store(config.output, endpoint)
    check_place(store, "train-segmenter", {"--input": labels.run.store, "--images": labels.images})
    _check_images(config, labels)
    encoder = BackboneConfig(config.network.encoder_name, config.weights)
    weights = load_weights(encoder, endpoint)
    record = _record(config, labels, weights, store)
    done = begin(store, record, overwrite=config.workers.overwrite, made="segmenter")
    if done is not None:
        return done
    found = _trained(config, labels, encoder, endpoint, weights, store, record)
    return finish(store, record, found, started, config.output)


def _check_images(config: TrainSegmenterConfig, labels: LabelRun) -> None:
    counts = sum(labels.run.counts.values(), ShardCounts())
    good, batch = counts.images - counts.errors, config.training.batch
    if good < batch:
        raise UserError(
            f"the run at {labels.run.store.uri} has {good} good images, fewer than --batch "
            f"{batch}; lower it"
        )
    if len(labels.ids) > 255:
        raise UserError(f"{len(labels.ids)} classes; a segmenter learns 255 at most")


def _record(
    config: TrainSegmenterConfig, labels: LabelRun, weights: Weights, store: Store
) -> dict[str, Any]:
    decisive = {
        "labels": labels.run.record["fingerprint"],
        "manifest": labels.run.manifest,
        "weights": weights.sha256,
        "network": dataclasses.asdict(config.network),
        "training": dataclasses.asdict(config.training),
        "seed": config.seed,
    }
    as_stored = json.loads(json.dumps(decisive))
    record = record_of(
        "train-segmenter", config, as_stored, store, overwrite=config.workers.overwrite
    )
    return record | {"weights": {"source": weights.source, "sha256": weights.sha256}}


def _trained(
    config: TrainSegmenterConfig,
    labels: LabelRun,
    encoder: BackboneConfig,
    endpoint: str | None,
    weights: Weights,
    store: Store,
    record: dict[str, Any],
) -> dict[str, Any]:
    # a finished run does without Ray
    from specray.pipelines.cluster import ray_session
    from specray.pipelines.graph import divisor_up_to
    from specray.pipelines.segmenter.crops import CropPlan
    from specray.pipelines.segmenter.loop import EncoderWeights, SegmenterPlan, train
    from specray.pipelines.training.index import index_of

    run = labels.run
    groups = index_of(run.store, [shard.name for shard in run.shards])
    crops = CropPlan(
        run.store,
        groups,
        labels.images,
        labels.ids,
        labels.has_confidence,
        config.training,
        config.seed,
        config.max_pixels,
    )
    balance = config.training.class_balance
    with ray_session():
        resources = training_resources(config.workers)
        plan = SegmenterPlan(
            store,
            crops,
            config.network,
            EncoderWeights(for_workers(encoder), endpoint, weights.sha256),
            class_weights(labels.pixels(), balance) if balance else None,
            resources.device,
            config.workers.checkpoint_every,
        )
        trainer = plan.trainer()  # refuses weights that do not fit before any worker starts
        workers = divisor_up_to(resources.actors, config.training.batch)
        state, metrics = run_training(
            train, plan, store, record["attempt"], workers, resources, config.workers
        )
    trainer.load_state_dict(state.trainer)
    about = {name: record[name] for name in ("fingerprint", "decisive", "versions", "weights")}
    training = dataclasses.asdict(config.training)
    names = dict(labels.names)
    made = Segmenter.of(trainer.network, config.network, labels.ids, names, training, about)
    store.write("segmenter.safetensors", made.to_bytes())
    return {
        "images": sum(len(group.rows) for group in groups),
        "classes": len(labels.ids),
        "steps": state.number,
        "epochs": round(state.number / crops.per_epoch, 2),
        "loss": round(metrics["loss"], 6),
        "agreement_with_labels": round(metrics["agreement"], 6),
        "workers": workers,
    }
