"""Trimaps: what of a hard mask is sure, and how much the rest of it is to be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_TRUST = 0.1
_POWER = 4
"""Belief in the mask at the far side of the band, and how fast it falls towards the border: on
masks of DAVIS, drawn by hand or coarsened to patches, the best of those that were tried."""


@dataclass(frozen=True)
class Trimap:
    """What a hard mask says about alpha."""

    values: NDArray[np.float64]
    """(H, W): 1 sure foreground, 0 sure background, 0.5 unknown."""
    trust: NDArray[np.float64]
    """(H, W) weight of the mask where `values` is unknown: nothing on its border, where colours
    decide, more further away, where they may mislead."""

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """(H, W) the band."""
        return (self.values > 0) & (self.values < 1)


def trimap(mask: NDArray[np.bool_], radius: float) -> Trimap:
    """Sure foreground, sure background, and a band of unknown pixels along the border of a mask.

    Erosion and dilation by a disc; but a part of the mask or of the background that is thinner
    than the disc, a leg or a gap, keeps its inner half, or colours alone would decide about all
    of it. The border of the image is no border of the mask.

    Parameters
    ----------
    mask
        (H, W) bool, the object.
    radius
        Half the width of the band in pixels.

    Returns
    -------
    There is a sure pixel of each kind that the mask has; where it has one kind alone, nothing is
    unknown.

    Examples
    --------
    >>> trimap(np.arange(8)[None] < 4, radius=1).values
    array([[1. , 1. , 1. , 0.5, 0.5, 0. , 0. , 0. ]])
    """
    values, trust = np.full(mask.shape, 0.5), np.zeros(mask.shape)
    for side, value in ((mask, 1), (~mask, 0)):
        depth = _depth(side)
        thickness = ndimage.maximum_filter(depth, 2 * int(np.ceil(radius)) + 1)
        values[side & (depth > np.minimum(radius, thickness / 2))] = value
        trust[side] = _TRUST * np.minimum(depth[side] / radius, 1) ** _POWER
    return Trimap(values, trust)


def band_radius(size: tuple[int, int], share: float, cell: float = 0.0) -> float:
    """Half the width of the band, in pixels.

    Parameters
    ----------
    size
        (height, width) of the image in pixels.
    share
        Of the short side.
    cell
        Side of the cells of which the mask is made, in pixels: its steps, and the half cell by
        which it may be off, must lie within the band. 0 for masks that follow the pixels.
    """
    return max(share * min(size), 1.25 * cell, 1.0)


def _depth(side: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance of the pixels of a mask to all others; endless where there are no others."""
    if side.all():
        return np.full(side.shape, np.inf)
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(side)
    return depth
