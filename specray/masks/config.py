"""What a person may choose about objects and regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from specray.checks import at_least

Connectivity = Literal[4, 8]


@dataclass(frozen=True)
class ObjectConfig:
    """How the foreground of the Fiedler vector is cut into objects (DSM, section 3.2).

    Parameters
    ----------
    connectivity
        Neighbours of a grid cell that belong to the same object: 8 joins cells that touch at a
        corner (DSM's rule), 4 does not (LOST's rule).
    """

    connectivity: Connectivity = 8


@dataclass(frozen=True)
class RegionConfig:
    """How the eigenvectors are clustered into regions (DSM, section 3.3).

    Parameters
    ----------
    regions
        Number of k-means clusters per image, background included. 4 is DSM's default; its semantic
        segmentation uses 15.
    adaptive_regions
        Choose the number of regions per image by the largest eigengap instead of `regions`.
    erode
        Erosion steps, in grid cells, on a region before its box is taken. 0 keeps the tight box of
        the mask; DSM's semantic segmentation uses 2. Masks and areas are not changed.
    dilate
        Dilation steps, in grid cells, after the erosion; DSM's semantic segmentation uses 5.
    """

    regions: int = 4
    adaptive_regions: bool = False
    erode: int = 0
    dilate: int = 0

    def __post_init__(self) -> None:
        at_least(1, self, "regions")
        at_least(0, self, "erode", "dilate")
