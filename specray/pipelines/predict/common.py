"""What predictions by prototypes and by a segmenter have in common."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from specray.backbones import BackboneConfig
from specray.masks import PRIMAPS_CRF, RefineConfig
from specray.pipelines.config import ImageConfig, SegmentConfig
from specray.pipelines.derived import check_place
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.record import record_of
from specray.sources import Store
from specray.tables.schema import SCHEMA_VERSION


def prediction_pass(
    given: PredictConfig, features: BackboneConfig, image_size: int | None, cells: int = 1
) -> SegmentConfig:
    """A streaming pass that keeps scores where the segment job keeps features.

    Parameters
    ----------
    given
        The configuration of the job.
    features
        Those that the scores are made of.
    image_size
        Short side in pixels of the images as they are seen; None: their own.
    cells
        That scores have for every patch that ``--max-patches`` counts.
    """
    selected = dataclasses.asdict(given.images)
    selected["max_patches"] *= cells
    return SegmentConfig(
        input=given.input,
        output=given.output,
        methods=(),
        describe="none",
        keep=("features",),
        images=ImageConfig(**selected, image_size=image_size),
        features=features,
        refinement=RefineConfig(given.refine, crf=PRIMAPS_CRF),
        run=given.run,
    )


def prediction_record(
    given: PredictConfig,
    source: Store,
    output: Store,
    model: Mapping[str, Any],
    refinement: Mapping[str, Any],
    names: Mapping[int, str | None],
) -> dict[str, Any]:
    """What ``run.json`` says of a run before it begins.

    Parameters
    ----------
    given
        The configuration of the job.
    source, output
        Where from, where to.
    model, refinement
        What decides the rows of the model and of the CRF.
    names
        Of the classes by their ids.

    Raises
    ------
    UserError
        The output holds something else.
    """
    check_place(output, "predict", {})
    decisive = {
        "input": source.uri,
        **model,
        **{name: getattr(given, name) for name in ("mirror", "confidence")},
        "refinement": refinement,
        **{name: getattr(given.images, name) for name in ("max_pixels", "max_patches")},
        "schema_version": SCHEMA_VERSION,
    }
    as_stored = json.loads(json.dumps(decisive))
    return {
        **record_of("predict", given, as_stored, output, overwrite=given.run.overwrite),
        "classes": [{"id": number, "name": name} for number, name in names.items()],
    }
