"""What a training reads, checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specray.errors import UserError
from specray.pipelines.derived import SegmentRun, finished_run
from specray.pipelines.training.config import TrainPrimapsConfig
from specray.sources import open_store


@dataclass(frozen=True)
class Inputs:
    """The segment runs of a training."""

    run: SegmentRun
    kept: bool
    """Whether it trains on features that the run has kept."""
    others: Sequence[SegmentRun]
    """With further proposals."""
    validation: SegmentRun | None
    """Whose images are scored; None without ground truth."""


def checked_inputs(config: TrainPrimapsConfig, run: SegmentRun) -> Inputs:
    """The runs that a configuration names; refuses those that have not what it takes.

    Parameters
    ----------
    config
        Of the job.
    run
        The one of ``--input``.

    Raises
    ------
    UserError
        A run is not finished, has no proposals, no kept features, too few images.
    """
    endpoint = config.endpoint or run.configuration["run"]["endpoint"]
    others = [finished_run(open_store(uri, endpoint)) for uri in config.proposals]
    for each in (run, *others):
        _check_proposals(config, each)
    kept = has_features(run)
    if config.features == "kept" and not kept:
        raise UserError(f"the run at {run.store.uri} kept no features; segment with --keep views")
    good = sum(counts.images - counts.errors for counts in run.counts.values())
    if good < config.em.batch:
        raise UserError(
            f"the run at {run.store.uri} has {good} good images, fewer than --batch "
            f"{config.em.batch}; lower it"
        )
    validation = None
    if config.diagnosis.truth is not None:
        validation = _validation(config, run, endpoint)
    return Inputs(run, kept and config.features != "computed", others, validation)


def has_features(run: SegmentRun) -> bool:
    """Whether it has kept them."""
    return "features" in run.configuration["keep"]


def _check_proposals(config: TrainPrimapsConfig, run: SegmentRun) -> None:
    made = run.configuration
    if "primaps" not in made["methods"]:
        raise UserError(
            f"the run at {run.store.uri} made no proposals; segment with --methods primaps"
        )
    if config.em.start == "proposals" and made.get("describe", "none") == "none":
        raise UserError(
            f"the proposals of {run.store.uri} have no features to begin with; segment with "
            "--describe mean, or pass --start directions"
        )


def _validation(config: TrainPrimapsConfig, run: SegmentRun, endpoint: str | None) -> SegmentRun:
    uri = config.diagnosis.validation
    found = run if uri is None else finished_run(open_store(uri, endpoint))
    if not has_features(found):
        raise UserError(
            f"the run at {found.store.uri} kept no features to score; segment it with "
            "--keep features"
        )
    same = [
        (each.record["decisive"]["features"], each.record["cell"], _size(each))
        for each in (run, found)
    ]
    if same[0] != same[1]:
        raise UserError(
            f"the run at {found.store.uri} has other features than {run.store.uri}; segment both "
            "with the same --backbone, --weights, --feature, --block and --image-size"
        )
    return found


def _size(run: SegmentRun) -> int | None:
    size: int | None = run.configuration["images"]["image_size"]
    return size
