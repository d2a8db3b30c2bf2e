"""Where the prototypes begin."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.errors import UserError
from specray.pipelines.derived import SegmentRun
from specray.pipelines.labels.sampling import draw
from specray.pipelines.resources import ResourcePlan
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.pipelines.training.index import Group
from specray.pipelines.training.inputs import Inputs, has_features
from specray.pipelines.training.moments import computed_moments, kept_moments
from specray.pipelines.training.pairs import Recomputed
from specray.seeds import derive_seed
from specray.semantics.prototypes.directions import principal_directions
from specray.semantics.prototypes.proposal_kmeans import proposal_prototypes
from specray.tables.counts import ShardCounts

MOST_POINTS = 1_000_000
"""Proposals that are clustered; a uniform sample where there are more."""


def start(
    config: TrainPrimapsConfig,
    inputs: Inputs,
    groups: Sequence[Group],
    recomputed: Recomputed,
    resources: ResourcePlan,
) -> Tensor:
    """Initial prototypes of all runs: those of every set of proposals, one set after the other.

    Parameters
    ----------
    config
        Which start, how many runs.
    inputs
        The segment runs.
    groups
        Where the images are.
    recomputed
        How features are computed where none are kept.
    resources
        Where.

    Returns
    -------
    (R, K, C) float64.

    Raises
    ------
    UserError
        There are fewer proposals, channels or centres than classes.
    """
    runs = [inputs.run, *inputs.others]
    if config.em.start == "proposals":
        found = np.concatenate([_of_proposals(config, run) for run in runs])
    elif config.em.start == "directions":
        alike = _of_directions(config, inputs.run, groups, recomputed, resources)
        found = np.tile(alike, (len(runs), 1, 1))
    else:
        found = np.tile(_of_centres(config, recomputed)[None], (len(runs), 1, 1))
    return torch.from_numpy(found)


def _of_proposals(config: TrainPrimapsConfig, run: SegmentRun) -> NDArray[np.float64]:
    """Spherical k-means of the mean features of proposals, whatever the sizes of these."""
    total = sum(run.counts.values(), ShardCounts()).points.get("primap", 0)
    images = sum(shard.rows for shard in run.shards)
    names = [shard.name for shard in run.shards]
    most = MOST_POINTS
    sample = draw(
        run.store, names, images, total, most, "primaps", foreground=False, seed=config.seed
    )
    print(
        f"clustering {len(sample.features):,} proposals into {config.em.classes} prototypes",
        file=sys.stderr,
    )
    seeds = [derive_seed(config.seed, f"run {number}") for number in range(config.runs)]
    return proposal_prototypes(sample.features, config.em.classes, seeds)


def _of_directions(
    config: TrainPrimapsConfig,
    run: SegmentRun,
    groups: Sequence[Group],
    recomputed: Recomputed,
    resources: ResourcePlan,
) -> NDArray[np.float64]:
    """Principal directions of all features; runs but the first have signs by chance."""
    shards = list(dict.fromkeys(group.shard for group in groups))
    if has_features(run):
        total = kept_moments(run.store, shards)
    else:
        cell = run.record["cell"]
        total = computed_moments(run.store, shards, recomputed, cell, resources)
    try:
        directions = principal_directions(total, config.em.classes)
    except ValueError as error:
        raise UserError(str(error)) from None
    signs = np.ones((config.runs, config.em.classes, 1))
    for run_number in range(1, config.runs):
        random = np.random.default_rng(derive_seed(config.seed, f"run {run_number}"))
        signs[run_number, :, 0] = random.choice([-1, 1], config.em.classes)
    return signs * directions


def _of_centres(config: TrainPrimapsConfig, recomputed: Recomputed) -> NDArray[np.float64]:
    """Where the method behind the features has its classes (PriMaPs section 3.4)."""
    projection = recomputed.projection()
    if projection is None or projection.centres is None:
        raise UserError(
            "--start centres needs features that were made with a --projection that has class "
            "centres; pass --start proposals"
        )
    found: NDArray[np.float64] = projection.centres.double().numpy()
    if len(found) != config.em.classes:
        raise UserError(
            f"the projection has {len(found)} class centres; pass --classes {len(found)}"
        )
    return found
