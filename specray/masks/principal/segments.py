"""Principal mask proposals as segments of the output table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.config import PrincipalConfig
from specray.masks.geometry import ImageGeometry
from specray.masks.principal.energies import proposal_energies
from specray.masks.principal.majority import majority_filter
from specray.masks.principal.proposals import Proposals, principal_masks
from specray.masks.refine import Refiner
from specray.masks.segments import Segment, segments_from_labels, segments_from_pixels


def principal_segments(
    features: Tensor,
    grid: tuple[int, int],
    geometries: Sequence[ImageGeometry],
    config: PrincipalConfig,
    refiners: Sequence[Refiner | None] | None = None,
) -> list[list[Segment]]:
    """Principal mask proposals of every image of a batch, in the order in which they are found.

    The masks are disjoint and may be in several parts; what they leave free belongs to none. The
    score of a proposal is the mean cosine of its cells to its anchor. With refiners, of
    `PRIMAPS_CRF`, proposals and what is left divide the image anew along its borders. An index is
    the rank in which a proposal was found: some are missing, those of nothing but scattered cells,
    and those that others absorb.

    Parameters
    ----------
    features
        (B, N, C) of the cells; PriMaPs takes the tokens of the last block. Their scale does not
        matter.
    grid
        (h, w) with ``h * w == N``.
    geometries
        (B,) sizes of the images.
    config
        Threshold and largest number of masks.
    refiners
        (B,) of the images; None where masks stay whole cells.

    Returns
    -------
    (B,) lists of segments of method ``primap``.
    """
    return proposal_segments(principal_masks(features, config), grid, geometries, refiners)


def proposal_segments(
    found: Proposals,
    grid: tuple[int, int],
    geometries: Sequence[ImageGeometry],
    refiners: Sequence[Refiner | None] | None = None,
) -> list[list[Segment]]:
    """Segments of proposals that were found; as `principal_segments`."""
    labels: NDArray[np.int64] = found.labels.cpu().numpy().reshape(-1, *grid)
    scores: NDArray[np.float64] = found.scores.double().cpu().numpy()
    return [
        _segments(cells, score, geometry, refiner)
        for cells, score, geometry, refiner in zip(
            labels, scores, geometries, refiners or repeat(None, len(labels)), strict=True
        )
    ]


def _segments(
    labels: NDArray[np.int64],
    scores: NDArray[np.float64],
    geometry: ImageGeometry,
    refiner: Refiner | None,
) -> list[Segment]:
    count = int(labels.max()) + 1
    labels = majority_filter(labels)
    if refiner is None:
        return segments_from_labels(labels, geometry, "primap", scores)
    at = geometry.at_size(*refiner.size)
    refined = refiner.best(proposal_energies(labels, count, at)) - 1
    return segments_from_pixels(refined, geometry, "primap", scores)
