"""Speed and agreement of the batched eigen-solver against the reference and against LAPACK."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from specray.pipelines.benchmark.reference import (
    exact_eigenpairs,
    reference_affinity,
    reference_eigenpairs,
)
from specray.pipelines.benchmark.timing import alternate
from specray.spectral import (
    SpectralConfig,
    cosine_affinity,
    decompose,
    laplacian_eigenpairs,
    orient,
)

NEGLIGIBLE = 1e-4
"""Entries of the Fiedler vector below this share of its largest have no sign to agree on."""


def solver_rows(features: Tensor, repeats: int, k: int = 5) -> list[dict[str, object]]:
    """Batched solver against the reference calls, with and without building the affinity.

    Both run in this process, in turns, with the threads that torch and the BLAS have been given.
    The affinity included, the candidate is `decompose`, as in a segmentation job.

    Parameters
    ----------
    features : Tensor
        ``(B, N, D)`` on the CPU: one batch for the candidate, ``B`` single images for the
        reference.
    repeats : int
        Timed calls of each.
    k : int
        Eigenpairs per image.

    Returns
    -------
    list of dict
        Two rows: the fields of `Comparison` plus ``images``, ``patches`` and ``threads``. Seconds
        are per batch.
    """
    images, patches, _ = features.shape
    config = SpectralConfig(eigenvectors=k)
    affinity = cosine_affinity(features)
    singles = [reference_affinity(image) for image in features]
    whole = alternate(
        lambda: decompose(features, (1, patches), 1, config),
        lambda: [reference_eigenpairs(reference_affinity(image), k) for image in features],
        repeats,
        name="affinity + eigenvectors",
    )
    solve = alternate(
        lambda: laplacian_eigenpairs(affinity, k),
        lambda: [reference_eigenpairs(single, k) for single in singles],
        repeats,
        name="eigenvectors",
    )
    setting = {"images": images, "patches": patches, "threads": torch.get_num_threads()}
    return [asdict(whole) | setting, asdict(solve) | setting]


@dataclass(frozen=True)
class Agreement:
    """How far the solver's object masks are those of an exact solution."""

    images: int
    """Images compared."""
    mean_iou: float
    """Mean intersection over union of the two Fiedler foregrounds."""
    min_iou: float
    """The worst image."""
    max_value_error: float
    """Largest difference of an eigenvalue."""
    fallback_rate: float
    """Share of images that the iteration left to the dense solver."""


def mask_agreement(batches: Iterable[Tensor], k: int = 5) -> Agreement:
    """Compare Fiedler foregrounds with those of a dense float64 solution, image by image.

    Parameters
    ----------
    batches : iterable of Tensor
        Patch features ``(B, N, D)`` on the CPU; ``N`` may differ from batch to batch.
    k : int
        Eigenpairs per image.

    Returns
    -------
    Agreement
        Over all images. Patches whose exact value is below `NEGLIGIBLE` are left out.
    """
    ious: list[float] = []
    errors: list[float] = []
    fallbacks = 0
    for features in batches:
        affinity = cosine_affinity(features)
        pairs = laplacian_eigenpairs(affinity, k)
        fallbacks += int(pairs.dense_fallback.sum())
        for weights, values, vectors in zip(affinity, pairs.values, pairs.vectors, strict=True):
            exact_values, exact_vectors = exact_eigenpairs(weights.numpy(), k)
            errors.append(float(np.abs(values.numpy() - exact_values).max()))
            ious.append(_foreground_iou(vectors[1], orient(torch.from_numpy(exact_vectors))[1]))
    return Agreement(len(ious), float(np.mean(ious)), min(ious), max(errors), fallbacks / len(ious))


def _foreground_iou(candidate: Tensor, exact: Tensor) -> float:
    """IoU of two Fiedler foregrounds ``(N,)`` where the exact vector has a sign."""
    certain = exact.abs() > NEGLIGIBLE * exact.abs().max()
    ours, theirs = (candidate > 0) & certain, (exact > 0) & certain
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else 1.0
