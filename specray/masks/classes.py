"""From scores of classes on a grid to the class of every pixel (PriMaPs, section 3.3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.geometry import ImageGeometry
from specray.masks.refine import Refiner
from specray.masks.segments import Segment, segments_from_pixels


class ClassMap(NamedTuple):
    """What an image shows, at the size that the backbone saw."""

    labels: NDArray[np.int32]
    """(H, W) classes."""
    confidence: NDArray[np.float32]
    """(H, W) softmax of the class, in [0, 1]."""


def class_map(scores: Tensor, geometry: ImageGeometry, refiner: Refiner | None = None) -> ClassMap:
    """The best class of every pixel.

    Scores are interpolated linearly between the centres of the cells, and go on unchanged in what
    the grid does not cover. Interpolation commutes with a linear head: the result is that of
    interpolated features, whose channels are many more.

    Parameters
    ----------
    scores
        (K, grid_h, grid_w) float32: logarithms of probabilities, up to a constant per cell.
    geometry
        Sizes of the image and of its grid.
    refiner
        Of the image at the size that the backbone saw; its CRF starts from the softmax of the
        scores. None takes the best score.
    """
    up = _interpolated(scores, geometry)
    labels = up.argmax(dim=0).int().numpy() if refiner is None else refiner.best(-up.numpy())
    chosen = up.gather(0, torch.from_numpy(labels).long()[None])[0]
    confidence = (chosen - up.logsumexp(dim=0)).exp_().clamp_(max=1)
    return ClassMap(labels, confidence.numpy())


def class_segments(found: ClassMap, classes: int, geometry: ImageGeometry) -> list[Segment]:
    """One segment of method ``class`` for every class that the image has.

    The index is the class, the score the mean confidence of its pixels.

    Parameters
    ----------
    found
        Of the image.
    classes
        Number of classes K.
    geometry
        Sizes of the image.
    """
    flat = found.labels.ravel()
    pixels = np.bincount(flat, minlength=classes)
    sums = np.bincount(flat, found.confidence.ravel(), minlength=classes)
    return segments_from_pixels(found.labels, geometry, "class", sums / np.maximum(pixels, 1))


def _interpolated(scores: Tensor, geometry: ImageGeometry) -> Tensor:
    """(K, resized_height, resized_width)."""
    g = geometry
    covered = (g.grid_h * g.patch, g.grid_w * g.patch)
    up = F.interpolate(scores[None], size=covered, mode="bilinear", align_corners=False)
    rest = (0, g.resized_width - covered[1], 0, g.resized_height - covered[0])
    return F.pad(up, rest, mode="replicate")[0] if any(rest) else up[0]
