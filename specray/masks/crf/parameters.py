"""The energies of the fully connected CRF, as the papers set them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from specray.checks import at_least

CONFIDENCE: Final = 0.99
"""Probability of a label that is to be refined (DSM, CRF stage)."""


@dataclass(frozen=True)
class CRFParameters:
    """Pairwise terms of a fully connected CRF (Krähenbühl and Koltun, 2011, section 2).

    Two pixels of different labels cost the sum of two Gaussian kernels, symmetrically normalised:
    one of their distance in the image and their difference in colour, one of their distance alone.
    The defaults are those of Deep Spectral Methods; `PRIMAPS_CRF` has those of PriMaPs.

    Parameters
    ----------
    bilateral_weight
        Cost of the kernel that sees colours.
    bilateral_xy
        Its deviation in the image, in pixels.
    bilateral_rgb
        Its deviation in colour, in steps of 256.
    gaussian_weight
        Cost of the kernel that sees distances alone; it removes small isolated parts.
    gaussian_xy
        Its deviation, in pixels.
    crf_iterations
        Mean-field iterations.
    """

    bilateral_weight: float = 10.0
    bilateral_xy: float = 80.0
    bilateral_rgb: float = 13.0
    gaussian_weight: float = 3.0
    gaussian_xy: float = 3.0
    crf_iterations: int = 5

    def __post_init__(self) -> None:
        at_least(0, self, "bilateral_weight", "gaussian_weight", "crf_iterations")
        at_least(0.5, self, "bilateral_xy", "bilateral_rgb", "gaussian_xy")


DSM_CRF: Final = CRFParameters()
"""Deep Spectral Methods: its object and semantic segmentation (with 0.01 / 0.99 unaries)."""

PRIMAPS_CRF: Final = CRFParameters(
    bilateral_weight=4.0,
    bilateral_xy=67.0,
    bilateral_rgb=3.0,
    gaussian_weight=3.0,
    gaussian_xy=1.0,
    crf_iterations=10,
)
"""PriMaPs: its proposals and its tests (unaries from log-softmax)."""
