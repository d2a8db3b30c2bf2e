"""The predict job: fitted prototypes, or a trained segmenter, applied to a bucket of images."""

from __future__ import annotations

import hashlib
from typing import Any

from specray.pipelines.given import read_given
from specray.pipelines.image_job import run_image_job
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.predict.of_prototypes import PrototypesJob
from specray.pipelines.predict.of_segmenter import SegmenterJob
from specray.semantics import read_names
from specray.semantics.prototypes.classifier import Classifier
from specray.semantics.segmenter.segmenter_file import Segmenter


def run_predict(config: PredictConfig) -> dict[str, Any]:
    """Predict the classes of every image of the input; see `PredictConfig` and `run_image_job`.

    Raises
    ------
    UserError
        As `run_image_job`; the model cannot be read, or is of other weights.
    """
    model = read_given(config.model, "--model", config.run.endpoint)
    digest = hashlib.sha256(model).hexdigest()
    names = {}
    if config.names is not None:
        names = read_names(read_given(config.names, "--names", config.run.endpoint), config.names)
    if Segmenter.is_one(model):
        segmenter = Segmenter.from_bytes(model)
        return run_image_job(SegmenterJob(config, segmenter, digest, {**segmenter.names, **names}))
    return run_image_job(PrototypesJob(config, Classifier.from_bytes(model), digest, names))
