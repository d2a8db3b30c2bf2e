"""The settings of the spectral room."""

from __future__ import annotations

from dataclasses import dataclass

from specray.checks import at_least


@dataclass(frozen=True)
class SpectralConfig:
    """How an image's patch features become Laplacian eigenvectors.

    Parameters
    ----------
    eigenvectors
        Eigenvectors per image, the constant one included. DSM uses 5 for regions; objects need 2.
    downsample_factor
        Pixels per cell of the affinity grid. None takes the backbone's patch size (no resizing); 8
        with a /16 backbone doubles the grid, sharpens masks and costs about 16 times the time.
    color_lambda
        Weight of the colour affinity beside the feature affinity. 0, as DSM runs by default, leaves
        colour out.
    """

    eigenvectors: int = 5
    downsample_factor: int | None = None
    color_lambda: float = 0.0

    def cell(self, patch_size: int) -> int:
        """Pixels per cell of the affinity grid, for a backbone of this patch size."""
        return self.downsample_factor or patch_size

    def cells(self, grid: tuple[int, int], patch_size: int) -> tuple[int, int]:
        """``(h', w')`` cells of the affinity grid for ``(h, w)`` patches, at least one a side."""
        cell = self.cell(patch_size)
        return max(grid[0] * patch_size // cell, 1), max(grid[1] * patch_size // cell, 1)

    def __post_init__(self) -> None:
        at_least(2, self, "eigenvectors")  # the first one is constant
        at_least(1, self, "downsample_factor")
        if self.color_lambda < 0:
            raise ValueError("color_lambda must not be negative")
