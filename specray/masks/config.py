"""What a person may choose about masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specray.checks import at_least, share
from specray.masks.crf.parameters import CRFParameters

Connectivity = Literal[4, 8]
Refine = Literal["none", "fast", "crf"]
Separation = Literal["tree", "spectral"]
Channels = Literal["ncr+dcr", "ncr", "all"]
Affinity = Literal["boc", "braycurtis", "chebyshev", "l1", "l2", "cosine", "dot"]
Describe = Literal["mean", "crop", "none"]


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


@dataclass(frozen=True)
class InstanceConfig:
    """How the objects of an image are told apart.

    Parameters
    ----------
    separation
        With `--methods instances`. `tree`: of segments at all scales, those that stand out most
        from their surroundings; `spectral`: the published method (SpecUnIIS), k-means on the
        eigenvectors of the foreground, which finds at least two.
    instances
        Instances per image, 1 to 100, fewer only where there are no more candidates; absent = as
        many as there seem to be.
    instance_channels
        Of `spectral`, the channels that patches are compared by: `ncr+dcr`, of the third of least
        entropy those that vary most, as in the paper; `ncr`, that third; `all`.
    instance_affinity
        Of `spectral`, how patches are compared: `boc` is Bray-Curtis over Chebyshev, the paper's.
    """

    separation: Separation = "tree"
    instances: int | None = None
    instance_channels: Channels = "ncr+dcr"
    instance_affinity: Affinity = "boc"

    def __post_init__(self) -> None:
        if self.instances is not None and not 1 <= self.instances <= 100:
            raise ValueError(f"--instances must be from 1 to 100, not {self.instances}")


@dataclass(frozen=True)
class SuperpixelConfig:
    """How an image is divided into small parts of one kind.

    Parameters
    ----------
    superpixels
        Superpixels per image, with `--methods superpixels`; fewer only where there are fewer
        patches. They are whole patches, never refined.
    """

    superpixels: int = 40

    def __post_init__(self) -> None:
        at_least(1, self, "superpixels")


@dataclass(frozen=True)
class PrincipalConfig:
    """How principal mask proposals are taken from an image (PriMaPs, section 3.1).

    Parameters
    ----------
    primap_threshold
        With `--methods primaps`: a patch belongs to a proposal if the cosine of its feature to that
        of the proposal's anchor is at least this.
    primaps
        Most proposals per image. They end where 95 % of the patches belong to one; the few images
        that would have more have only these.
    """

    primap_threshold: float = 0.4
    primaps: int = 64

    def __post_init__(self) -> None:
        share(self, "primap_threshold")
        at_least(1, self, "primaps")


@dataclass(frozen=True)
class RefineConfig:
    """How masks, which end at patches, are moved to the borders of the image.

    Parameters
    ----------
    refine
        `crf`: the fully connected CRF of the papers, exactly; `fast`: the same at half the size,
        with an exact update along the borders: nearly as good at a fraction of the cost; `none`:
        masks are whole patches, as eigenvectors are. Primaps are refined by the CRF of PriMaPs,
        whatever its parameters are for the others.
    refine_size
        Short side in pixels at which to refine, at most the image's own; absent = the size that the
        backbone sees. From there masks are brought to the original size with smooth borders.
    """

    refine: Refine = "fast"
    refine_size: int | None = None
    crf: CRFParameters = field(default_factory=CRFParameters)

    def __post_init__(self) -> None:
        at_least(16, self, "refine_size")

    def short_side(self, seen: tuple[int, int], height: int, width: int) -> int | None:
        """Pixels of the short side at which to refine, None where `seen` will do.

        Parameters
        ----------
        seen
            (H, W) of the image as the backbone sees it.
        height, width
            Pixels of the original image.
        """
        if self.refine == "none" or self.refine_size is None:
            return None
        side = min(self.refine_size, height, width)
        return None if side == min(seen) else side
