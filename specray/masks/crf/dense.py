"""Fully connected CRF: mean-field inference for a batch of images, in one call."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from specray.masks.crf.parameters import CONFIDENCE, DSM_CRF, CRFParameters

_EXCLUDED = 1e4
"""Energy, above the least, of a label that an image does not have: exp(-1e4) is 0 in float32."""


def dense_crf(
    images: Tensor,
    energies: Tensor,
    parameters: CRFParameters = DSM_CRF,
    *,
    label_counts: Tensor | None = None,
    backend: Literal["compiled", "torch"] | None = None,
) -> Tensor:
    """Marginals of a fully connected CRF by mean-field inference, batched over images and labels.

    Starts from ``Q = softmax(-U)`` and repeats ``Q = softmax(-U + sum_m w_m N_m K_m N_m Q)`` with
    Potts compatibility, where ``K_m`` is a Gaussian filter over all pairs of pixels on a
    permutohedral lattice, its self-terms kept, and ``N_m = diag(K_m 1) ** -1/2`` normalises it
    symmetrically. This is what pydensecrf computes with its defaults (``DIAG_KERNEL``,
    ``NORMALIZE_SYMMETRIC``); marginals agree with it to about 1e-4.

    Parameters
    ----------
    images
        (B, H, W, 3) uint8 RGB. (The order of the channels makes no difference.)
    energies
        (B, L, H, W) float32 unary energies U, that is negative log-probabilities up to a constant
        per pixel; see `label_energies`. On the device on which to work.
    parameters
        Weights and deviations of the two kernels, and the number of iterations.
    label_counts
        (B,) labels that each image has, at most L: the others are padding, get probability 0 and
        change nothing. None: all have L.
    backend
        None takes compiled code for a single CPU thread where the energies are on a CPU, else
        torch on their device.

    Returns
    -------
    (B, L, H, W) float32 marginals Q; over the labels they sum to 1.

    Raises
    ------
    ValueError
        Shapes or types do not fit each other, an energy is not finite, or the deviations are too
        small for the image (a side may have about a hundred of them).

    Notes
    -----
    The result for an image does not depend on its company. The compiled code holds one image at a
    time, of 100 to 250 bytes a pixel and 16 for each label; torch takes about 400 bytes a pixel of
    each image, or 200 and 25 for each label.

    References
    ----------
    P. Krähenbühl and V. Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge
    Potentials, NeurIPS 2011. A. Adams, J. Baek and M. A. Davis, Fast High-Dimensional Filtering
    Using the Permutohedral Lattice, Eurographics 2010.

    Examples
    --------
    >>> image = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    >>> image[:, :, 4:] = 255
    >>> guess = torch.zeros(1, 8, 8, dtype=torch.int64)
    >>> guess[:, :, 3:] = 1  # one column too wide
    >>> dense_crf(image, label_energies(guess, 2)).argmax(1)[0, 0]
    tensor([0, 0, 0, 0, 1, 1, 1, 1])
    """
    _check(images, energies, label_counts)
    energies = energies.detach()
    if label_counts is not None:
        labels = torch.arange(energies.shape[1], device=energies.device)
        absent = (labels >= label_counts.to(energies.device)[:, None])[:, :, None, None]
        least = energies.masked_fill(absent, torch.inf).amin(dim=1, keepdim=True)
        energies = (energies - least).masked_fill(absent, _EXCLUDED)
    if (backend or ("compiled" if energies.device.type == "cpu" else "torch")) == "torch":
        from specray.masks.crf import mean_field

        return mean_field.infer(images.to(energies.device), energies, parameters)
    from specray.masks.crf import compiled  # with it comes numba, which a GPU does not need

    return compiled.infer(images, energies, parameters)


def label_energies(labels: Tensor, count: int, confidence: float = CONFIDENCE) -> Tensor:
    """Unary energies of a map of labels that one is fairly sure of (DSM, CRF stage).

    Parameters
    ----------
    labels
        (B, H, W) integers from 0 to ``count - 1``.
    count
        Number of labels L.
    confidence
        Probability of the label itself; every other label has ``1 - confidence``, whatever L is
        (DSM clips a one-hot map to [0.01, 0.99]).

    Returns
    -------
    (B, L, H, W) float32: 0.01005 for the label and 4.60517 for the others at 0.99.
    """
    one_hot = labels[:, None] == torch.arange(count, device=labels.device)[:, None, None]
    probabilities = torch.tensor([1 - confidence, confidence], device=labels.device)
    sure, unsure = -probabilities.log()[1], -probabilities.log()[0]
    return torch.where(one_hot, sure, unsure)


def _check(images: Tensor, energies: Tensor, label_counts: Tensor | None) -> None:
    if energies.ndim != 4 or energies.dtype != torch.float32:
        raise ValueError("energies must be (B, L, H, W) float32")
    batch, labels, height, width = energies.shape
    if images.shape != (batch, height, width, 3) or images.dtype != torch.uint8:
        raise ValueError(
            f"images must be ({batch}, {height}, {width}, 3) uint8 as the energies are, not "
            f"{tuple(images.shape)} {images.dtype}"
        )
    if not labels:
        raise ValueError("energies must have at least one label")
    if not energies.isfinite().all():
        raise ValueError("energies must be finite; pad labels by label_counts")
    if label_counts is not None and not (
        label_counts.shape == (batch,) and ((label_counts >= 1) & (label_counts <= labels)).all()
    ):
        raise ValueError(f"label_counts must be ({batch},) with values from 1 to {labels}")
