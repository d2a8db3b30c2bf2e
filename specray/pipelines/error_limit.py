"""Stopping a run that is going wrong."""

from __future__ import annotations

from typing import Final

from specray.errors import UserError
from specray.tables.counts import ShardCounts

MIN_IMAGES: Final = 1000
"""Images before their share of errors speaks of the rest: one folder of them may be broken."""


class ErrorLimit:
    """Adds up what a run commits, and objects as soon as too much of it are error rows.

    Parameters
    ----------
    rate
        Largest share of images that may be errors, 0 to 1.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._counts = ShardCounts()

    def add(self, committed: ShardCounts) -> None:
        """Count a shard.

        Raises
        ------
        UserError
            Too many errors among at least `MIN_IMAGES` images.
        """
        self._counts += committed
        if self._counts.images >= MIN_IMAGES:
            check_errors(self._counts, self._rate)


def check_errors(counts: ShardCounts, rate: float) -> None:
    """Compare the share of error rows with its limit.

    Raises
    ------
    UserError
        There are more; the message names the codes and the ways out.
    """
    if not counts.errors or counts.errors / counts.images <= rate:  # a product would be rounded
        return
    codes = sorted(counts.codes.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{count} {code}" for code, count in codes)
    raise UserError(
        f"{counts.errors} of {counts.images} images are errors ({listed}), more than "
        f"--max-error-rate {rate:g}; what is done stays: mend the cause and run the same command "
        f"with --retry {' '.join(code for code, _ in codes)}, or accept them with "
        "--max-error-rate 1"
    )
