"""What a segment looks like to the backbone: the mean of the features under its mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from specray.masks.coverage import cell_coverage
from specray.masks.geometry import ImageGeometry
from specray.masks.segments import Segment


def described(
    segments: Sequence[Segment], features: Tensor, geometry: ImageGeometry
) -> list[Segment]:
    """Segments of one image with their features.

    The feature of a segment is the mean of the unit features of the cells, each weighted by its
    pixels under the mask. Its length, at most 1, tells how alike they are.

    Parameters
    ----------
    segments
        Of one image.
    features
        (N, C) of the cells of the grid; their scale does not matter.
    geometry
        Sizes of the image and of its grid.

    Returns
    -------
    The segments, each with a (C,) float16 ``feature``.
    """
    if not segments:
        return []
    covered = torch.from_numpy(cell_coverage([segment.rle for segment in segments], geometry))
    weights = covered / covered.sum(dim=1, keepdim=True).clamp_min(1)
    means = weights.float() @ F.normalize(features.float().cpu(), dim=-1)
    rows = means.half().numpy()
    return [replace(segment, feature=row) for segment, row in zip(segments, rows, strict=True)]
