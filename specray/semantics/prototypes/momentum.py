"""The momentum prototypes: a running average of the trained ones (PriMaPs section 3.2)."""

from __future__ import annotations

from typing import Final

WARM_UP_COPIES: Final = 2
"""First updates that copy instead of averaging, as in the published code."""


def momentum_decay(update: int, largest: float) -> float:
    """Share of the old average that an update keeps.

    Parameters
    ----------
    update
        Number of the update, from 1.
    largest
        What it grows to: ``1 - 1/n`` until then, so that the average is a plain mean at first.

    Examples
    --------
    >>> [round(momentum_decay(n, 0.98), 3) for n in (1, 2, 3, 4, 49, 50, 51)]
    [0.0, 0.0, 0.667, 0.75, 0.98, 0.98, 0.98]
    """
    return 0.0 if update <= WARM_UP_COPIES else min(1 - 1 / update, largest)
