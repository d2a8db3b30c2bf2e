"""Options of a training and of its workers, as tests pass them together."""

from __future__ import annotations

import dataclasses
from typing import Any

from specray.pipelines.config import WorkersConfig


def spread(options: dict[str, Any]) -> dict[str, Any]:
    """The options, those of `WorkersConfig` in a section of their own."""
    names = {each.name for each in dataclasses.fields(WorkersConfig)}
    workers = WorkersConfig(**{name: options[name] for name in names & options.keys()})
    return {name: options[name] for name in options.keys() - names} | {"workers": workers}
