"""What a person may choose about matting."""

from __future__ import annotations

from dataclasses import dataclass

from specray.checks import at_least


@dataclass(frozen=True)
class MattingConfig:
    """How a hard mask becomes a soft alpha.

    Parameters
    ----------
    matte_size
        Short side in pixels at which alpha is solved for. Larger images get theirs from there by
        an edge-aware step against their own pixels; the solve at full size takes minutes.
    band
        Pixels on either side of the mask's border whose alpha is solved for, as a share of the
        short side; at least a patch and a quarter where masks are made of patches, and less where
        the object is thinner than that.
    """

    matte_size: int = 480
    band: float = 0.015

    def __post_init__(self) -> None:
        at_least(16, self, "matte_size")
        if not 0 < self.band <= 0.5:
            raise ValueError("--band must be above 0 and at most 0.5")
