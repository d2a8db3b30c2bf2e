"""What is compared: a block, one of its features, and how its eigenvector becomes an object."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from specray.backbones.config import Feature

Sign = Literal["minority", "border"]
Corners = Literal["kept", "zeroed"]


@dataclass(frozen=True)
class Combination:
    """One answer to how objects are found; the defaults are the papers'."""

    block: int
    """Counted from 0."""
    feature: Feature = "k"
    color_lambda: float = 0.0
    sign: Sign = "minority"
    """Which side of the eigenvector is the object: `minority`, the one of fewer patches; `border`,
    the one of fewer patches along the border of the image."""
    corners: Corners = "kept"
    """`zeroed`: the patches in the corners have no feature, and are background."""

    @property
    def in_segment(self) -> bool:
        """Whether ``specray segment`` can be told to do it."""
        return self.sign == "minority" and self.corners == "kept"

    @property
    def rule(self) -> tuple[float, Sign, Corners]:
        """All but the feature."""
        return self.color_lambda, self.sign, self.corners


def papers_choice(depth: int) -> Combination:
    """Keys of the last block, the smaller side, whatever the corners do (DSM, LOST, TokenCut)."""
    return Combination(depth - 1)


def grid_of(
    blocks: Sequence[int],
    features: Sequence[Feature],
    color_lambdas: Sequence[float],
    signs: Sequence[Sign],
    corners: Sequence[Corners],
    depth: int,
) -> list[Combination]:
    """Every combination, the papers' choice among them, by block.

    Parameters
    ----------
    blocks
        Counted from 0, negative from the end; none for all.
    features, color_lambdas, signs, corners
        Values of the others.
    depth
        Blocks of the model.

    Examples
    --------
    >>> len(grid_of([], ["k", "token"], [0], ["minority", "border"], ["kept"], depth=12))
    48
    """
    chosen = sorted({block % depth for block in blocks}) if blocks else range(depth)
    found = [
        Combination(*values)
        for values in itertools.product(chosen, features, color_lambdas, signs, corners)
    ]
    papers = papers_choice(depth)
    return found if papers in found else [*found, papers]
