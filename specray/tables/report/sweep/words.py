"""Combinations and gains for people, on the page and on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rule_in_words(color_lambda: float, sign: str, corners: str) -> str:
    """How an eigenvector becomes an object.

    Examples
    --------
    >>> rule_in_words(0, "minority", "zeroed")
    'smaller side, corners zeroed'
    """
    side = "smaller side" if sign == "minority" else "side with less border"
    colour = f", colour x {color_lambda:g}" if color_lambda else ""
    return f"{side}, corners {corners}{colour}"


def in_words(one: Mapping[str, Any]) -> str:
    """A combination, as ``sweep.json`` has it.

    Examples
    --------
    >>> in_words({"block": 9, "feature": "v", "color_lambda": 0.0, "sign": "minority",
    ...           "corners": "kept"})
    'v of block 9, smaller side, corners kept'
    """
    rule = rule_in_words(one["color_lambda"], one["sign"], one["corners"])
    return f"{one['feature']} of block {one['block']}, {rule}"


def gain_in_words(gain: Mapping[str, Any]) -> str:
    """Points of percent with their interval.

    Examples
    --------
    >>> gain_in_words({"mean": 0.031, "low": 0.012, "high": 0.05, "better": 0.99})
    '+3.1 points (95 %: +1.2 to +5.0)'
    """
    mean, low, high = (100 * gain[name] for name in ("mean", "low", "high"))
    return f"{mean:+z.1f} points (95 %: {low:+z.1f} to {high:+z.1f})"
