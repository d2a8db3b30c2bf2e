"""Mean-field inference in compiled code: one image after the other on one CPU thread."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.kernels import compiled, exp
from specray.masks.crf.compiled_filter import LANES, add_sliced, filtered
from specray.masks.crf.compiled_lattice import Floats, Lattice, Pixels, build
from specray.masks.crf.parameters import CRFParameters

Labels = NDArray[np.int32]
Energies = tuple[np.float32, np.float32]
"""Of a pixel's own label, and of any other one."""

_BLOCK: Final = 4096
"""Pixels of a softmax that stay in the cache."""


class Kernels(NamedTuple):
    """Both pairwise terms of an image."""

    bilateral: Lattice
    gaussian: Lattice
    bilateral_weight: np.float32
    gaussian_weight: np.float32


def infer(images: Tensor, energies: Tensor, parameters: CRFParameters) -> Tensor:
    """Marginals of a batch; see `specray.masks.crf.dense_crf`."""
    batch, labels, height, width = energies.shape
    marginals = np.empty((batch, labels, height, width), np.float32)
    for i in range(batch):
        pixels = np.array(images[i].cpu().numpy(), order="C")
        flat = np.array(energies[i].cpu().numpy(), order="C").reshape(labels, -1)
        found = mean_field(pair_kernels(pixels, parameters), flat, parameters.crf_iterations)
        marginals[i] = found.reshape(labels, height, width)
    return torch.from_numpy(marginals)


def pair_kernels(pixels: Pixels, parameters: CRFParameters, stride: int = 1) -> Kernels:
    """Both lattices of an image (H, W, 3); `stride` as for `specray.masks.crf.compiled_lattice`."""
    p = parameters
    deviations = (p.bilateral_xy, p.bilateral_xy, *[p.bilateral_rgb] * 3)
    bilateral = build(pixels, deviations, stride)
    gaussian = spatial_lattice(pixels.shape[0], pixels.shape[1], p.gaussian_xy, stride)
    return Kernels(
        bilateral, gaussian, np.float32(p.bilateral_weight), np.float32(p.gaussian_weight)
    )


@lru_cache(maxsize=2)
def spatial_lattice(height: int, width: int, deviation: float, stride: int) -> Lattice:
    """The lattice of distances alone, which images of one size share."""
    return build(np.zeros((height, width, 3), np.uint8), (deviation, deviation), stride)


def one_hot_energies(labels: Labels, count: int, energies: Energies) -> Floats:
    """Unary energies (L, N) of a label map: of a pixel's own label, and of any other one."""
    own = labels.reshape(-1) == np.arange(count, dtype=np.int32)[:, None]
    return np.where(own, *energies)


def mean_field(kernels: Kernels, energies: Floats, iterations: int) -> Floats:
    """Iterate the marginals of one image.

    Parameters
    ----------
    kernels
        Its pairwise terms.
    energies
        (L, N) unary energies.
    iterations
        Updates.

    Returns
    -------
    (L, N) marginals.
    """
    marginals: Floats = _mean_field(kernels, energies, iterations)
    return marginals


@compiled
def _mean_field(kernels, energies, iterations):  # type: ignore[no-untyped-def]
    """The last label is never filtered: marginals sum to 1, so K(Q_last) = K(1) - K(the others)."""
    labels, pixels = energies.shape
    free = labels - 1
    lanes = 1 if free <= 1 else LANES
    planes = -(-free // lanes) * lanes
    # planes beyond the labels stay 0
    marginals = np.zeros((planes + 1, pixels), np.float32)
    messages = np.zeros((planes + 1, pixels), np.float32)
    marginals[:free] = -energies[:free]
    marginals[planes] = -energies[free]
    _softmax(marginals, free)
    certain = np.zeros((1, pixels), np.float32)  # what K(1) says to the last label
    _add_messages(kernels, np.ones((1, pixels), np.float32), certain)
    for _ in range(iterations if free else 0):
        messages[:] = 0
        for group in range(0, planes, lanes):
            group_end = group + lanes
            _add_messages(kernels, marginals[group:group_end], messages[group:group_end])
        marginals[planes] = certain[0] - energies[free]
        for label in range(free):
            marginals[planes] -= messages[label]
            marginals[label] = messages[label] - energies[label]
        _softmax(marginals, free)
    found = np.empty((labels, pixels), np.float32)
    found[:free] = marginals[:free]
    found[free] = marginals[planes]
    return found


@compiled
def _add_messages(kernels, marginals, messages):  # type: ignore[no-untyped-def]
    """Add to `messages` (C, N) what both kernels make of `marginals` (C, N)."""
    table = filtered(kernels.bilateral, marginals)
    add_sliced(kernels.bilateral, table, kernels.bilateral_weight, messages)
    table = filtered(kernels.gaussian, marginals)
    add_sliced(kernels.gaussian, table, kernels.gaussian_weight, messages)


@compiled
def _softmax(logits, free):  # type: ignore[no-untyped-def]
    """Softmax in place over the first `free` rows and the last one of (P, N) logits."""
    last = len(logits) - 1
    total = np.empty(_BLOCK, np.float32)
    for start in range(0, logits.shape[1], _BLOCK):
        end = min(start + _BLOCK, logits.shape[1])
        largest = logits[last, start:end].copy()
        for label in range(free):
            _raise(largest, logits[label, start:end])
        total[:] = 0
        for label in range(free):
            _add_exp(logits[label, start:end], largest, total)
        _add_exp(logits[last, start:end], largest, total)
        for label in range(free):
            _divide(logits[label, start:end], total)
        _divide(logits[last, start:end], total)


# Loops over whole vectors and nothing else: these LLVM turns into vector instructions.


@compiled
def _raise(largest, row):  # type: ignore[no-untyped-def]
    for n in range(len(row)):
        largest[n] = max(largest[n], row[n])


@compiled
def _add_exp(row, largest, total):  # type: ignore[no-untyped-def]
    for n in range(len(row)):
        row[n] = exp(row[n] - largest[n])
        total[n] += row[n]


@compiled
def _divide(row, total):  # type: ignore[no-untyped-def]
    for n in range(len(row)):
        row[n] /= total[n]
