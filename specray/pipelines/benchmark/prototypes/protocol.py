"""Prototypes on CamVid: starts, k-means and EM, each with several seeds at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from specray.evaluation import Scores, confusion, hungarian_by_pixels, score, spread
from specray.pipelines.benchmark.labels.camvid import IGNORED
from specray.pipelines.benchmark.prototypes.crops import Scored
from specray.pipelines.labels.points import points_of
from specray.pipelines.training.order import shuffled
from specray.pipelines.training.samples import KeptFeatures, Sample, batched, draw, samples_of
from specray.seeds import derive_seed
from specray.semantics.prototypes.config import EMConfig, Weighting
from specray.semantics.prototypes.directions import Moments, principal_directions
from specray.semantics.prototypes.em import Images, PrototypeEM
from specray.semantics.prototypes.proposal_kmeans import proposal_prototypes

SEEDS: Final = 3
BATCH: Final = 32
KMEANS_STEPS: Final = (10, 250)
"""Two epochs of 184 images, as published, and 50."""
EM_STEPS: Final = 100


class _Batches:
    """The batches of `specray train-primaps`, of rows that are in memory."""

    def __init__(self, rows: pa.Table, cell: int) -> None:
        self._samples: list[Sample] = samples_of(rows, cell, None, kept=True)
        self._cell = cell

    def __call__(self, number: int) -> list[Images]:
        epoch, step = divmod(number, len(self._samples) // BATCH)
        order = shuffled([len(self._samples)], BATCH, 0, epoch)
        chosen = [self._samples[i] for i in order.row[:, step].tolist()]
        draws = [draw(0, epoch, sample.key) for sample in chosen]
        return batched(chosen, draws, KeptFeatures(), self._cell)


def prototype_rows(
    rows: pa.Table,
    test: Scored,
    names: Sequence[str],
    cell: int,
    kmeans_steps: Sequence[int] = KMEANS_STEPS,
    em_steps: int = EM_STEPS,
) -> Iterator[dict[str, Any]]:
    """Mean and spread of the scores over seeds of every way to fit prototypes.

    Parameters
    ----------
    rows
        Of the training images, see `proposed`.
    test
        Where they are scored, matched by pixels.
    names
        Of the true classes; there are as many prototypes.
    cell
        Side of a patch in pixels.
    kmeans_steps, em_steps
        Numbers of batches; EM starts after the last one of k-means.
    """
    batches, classes = _Batches(rows, cell), len(names)
    directions = _directions(rows, classes)
    yield _row("directions", directions, test, names)
    kmeans = directions
    for steps in kmeans_steps:
        kmeans = _kmeans(directions, batches, steps)
        yield _row(f"directions, k-means, {steps} batches", kmeans, test, names)
    proposals = _proposals(rows, classes)
    yield _row("k-means of proposals", proposals, test, names)
    for name, start in (("k-means", kmeans), ("k-means of proposals", proposals)):
        weightings: tuple[Weighting, ...] = ("pixels", "proposals")
        for weighting in weightings:
            heads = _em(start, batches, classes, weighting, em_steps)
            yield _row(f"{name}, EM by {weighting}", heads, test, names)


def _directions(rows: pa.Table, classes: int) -> torch.Tensor:
    """(SEEDS, K, C): with signs by chance, as published."""
    scale = rows["feature_scale"].to_numpy()
    parts = []
    for features, factor in zip(rows["features"], scale, strict=True):
        image = features.values.to_numpy().astype(np.float64) * factor
        parts.append(Moments.of(image.reshape(-1, _channels(rows))))
    found = principal_directions(sum(parts[1:], parts[0]), classes)
    signs = [np.random.default_rng(seed).choice([-1, 1], (classes, 1)) for seed in range(SEEDS)]
    return torch.from_numpy(np.stack([sign * found for sign in signs]))


def _proposals(rows: pa.Table, classes: int) -> torch.Tensor:
    """(SEEDS, K, C)."""
    features = points_of(rows, "primaps").features.astype(np.float32)
    seeds = [derive_seed(seed, "run 0") for seed in range(SEEDS)]
    return torch.from_numpy(proposal_prototypes(features, classes, seeds))


def _channels(rows: pa.Table) -> int:
    patches: int = rows["grid_h"][0].as_py() * rows["grid_w"][0].as_py()
    return len(rows["features"][0]) // patches


def _kmeans(start: torch.Tensor, batches: _Batches, steps: int) -> torch.Tensor:
    fitted = PrototypeEM(start, EMConfig(start.shape[1]))
    for number in range(steps):
        fitted.kmeans_step([images.clean.flatten(0, 1) for images in batches(number)])
    return fitted.vectors.clone()


def _em(
    start: torch.Tensor, batches: _Batches, classes: int, weighting: Weighting, steps: int
) -> torch.Tensor:
    """(SEEDS, K, C) momentum prototypes after the last batch, directions times gains."""
    fitted = PrototypeEM(start, EMConfig(classes, weighting=weighting))
    for number in range(steps):
        fitted.step(batches(number))
    vectors = F.normalize(fitted.momentum_vectors, dim=-1)
    return vectors * fitted.momentum_gains[..., None]


def _row(name: str, heads: torch.Tensor, test: Scored, names: Sequence[str]) -> dict[str, Any]:
    results = [_scores(head.float(), test, names) for head in heads]
    miou = spread([100 * each.miou for each in results])
    accuracy = spread([100 * each.accuracy for each in results])
    return {
        "name": name,
        "mIoU": miou.mean,
        "sd": miou.sd,
        "accuracy": accuracy.mean,
        "accuracy sd": accuracy.sd,
        "seeds": miou.n,
    }


def _scores(head: torch.Tensor, test: Scored, names: Sequence[str]) -> Scores:
    matrix: NDArray[np.int64] = np.zeros((len(names) + 1, len(names)), np.int64)
    for features, truth in zip(test.features, test.truth, strict=True):
        scores = (features @ head.T).T.unflatten(1, test.grid)[None]
        up = F.interpolate(scores, truth.shape, mode="bilinear", align_corners=False)
        labels = up.argmax(dim=1)[0].numpy()
        matrix += confusion(labels, truth, len(names), len(names), IGNORED)
    return score(matrix, hungarian_by_pixels(matrix), names)
