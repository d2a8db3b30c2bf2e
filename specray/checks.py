"""Checks that configurations share."""

from __future__ import annotations


def at_least(minimum: float, config: object, *names: str) -> None:
    """Check numeric fields of a configuration; None passes.

    Raises
    ------
    ValueError
        A field is below the minimum; the message names its flag.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < minimum:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {minimum}, not {value}")


def share(config: object, name: str) -> None:
    """Check a field of a configuration that is a share of a whole.

    Raises
    ------
    ValueError
        The field is below 0 or above 1; the message names its flag.
    """
    if not 0 <= getattr(config, name) <= 1:
        raise ValueError(f"--{name.replace('_', '-')} must be between 0 and 1")
