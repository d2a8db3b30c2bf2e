"""Predictions by where they are."""

from __future__ import annotations

from specray.datasets import Dataset
from specray.errors import UserError
from specray.pipelines.derived import finished_run
from specray.pipelines.evaluate.predictions.base import Predictions
from specray.pipelines.evaluate.predictions.coco import coco_predictions
from specray.pipelines.evaluate.predictions.panoptic import PANOPTIC, PanopticPredictions
from specray.pipelines.evaluate.predictions.pictures import MapPredictions
from specray.pipelines.evaluate.predictions.runs import RunPredictions
from specray.sources import open_store
from specray.tables.run import NAME as RUN


def open_predictions(
    uri: str,
    dataset: Dataset,
    *,
    method: str | None = None,
    classes: int | None = None,
    endpoint: str | None = None,
) -> Predictions:
    """Find out what is at a place.

    Parameters
    ----------
    uri
        The output of a job, a .json, or a folder of PNGs.
    dataset
        The ground truth, by which ids of images are understood.
    method
        As `RunPredictions` has it.
    classes
        As `MapPredictions` has it.
    endpoint
        Of an S3-compatible store.

    Raises
    ------
    UserError
        There is nothing, or nothing that can be scored.
    """
    if uri.lower().endswith(".json"):
        return coco_predictions(uri, dataset, endpoint)
    store = open_store(uri, endpoint)
    if store.exists(RUN):
        return RunPredictions(finished_run(store, "segment", "label", "predict"), method)
    if store.exists(PANOPTIC):
        return PanopticPredictions(store)
    if next(store.list((".png",)), None) is None:
        raise UserError(
            f"--input {uri} holds nothing to score: neither the output of a specray job, nor "
            f"{PANOPTIC}, nor PNGs named by the keys of the images; a COCO JSON is named itself"
        )
    return MapPredictions(store, classes)
