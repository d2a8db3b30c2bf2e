"""New classes for the points of a segment run."""

from __future__ import annotations

import sys
from typing import Any

from specray.pipelines.derived import SegmentRun
from specray.pipelines.labels.config import LabelConfig
from specray.pipelines.labels.sampling import Sample, draw
from specray.semantics import Codebook, Medoid, fit


def fit_codebook(
    config: LabelConfig, run: SegmentRun, total: int, features: dict[str, Any]
) -> Codebook:
    """Draw the points and cluster them; says how far it is.

    Parameters
    ----------
    config
        How.
    run
        Whose segments.
    total
        Points that it has.
    features
        What decides the features, which the codebook remembers.
    """
    most = config.clusters.fit_points
    if total > most:
        print(f"fitting classes to {most:,} of {total:,} {config.source}", file=sys.stderr)
    sample = draw(
        run.store,
        [shard.name for shard in run.shards],
        sum(shard.rows for shard in run.shards),
        total,
        most,
        config.source,
        foreground=config.background != "class",
        seed=config.seed,
    )
    return fit(
        sample.features,
        config=config.clusters,
        seed=config.seed,
        features=features,
        total=total,
        in_place=True,
        medoid=lambda place: _medoid(sample, place),
        progress=lambda line: print(line, file=sys.stderr),
    )


def _medoid(sample: Sample, place: int) -> Medoid:
    box = None if sample.boxes is None else tuple(sample.boxes[place].tolist())
    return Medoid(sample.keys[place].as_py(), int(sample.index[place]), box)
