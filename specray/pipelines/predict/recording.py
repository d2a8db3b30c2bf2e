"""The record of a run that predicts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from specray.pipelines.derived import check_place
from specray.pipelines.predict.config import PredictConfig
from specray.pipelines.record import record_of
from specray.sources import Store
from specray.tables.schema import SCHEMA_VERSION


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
