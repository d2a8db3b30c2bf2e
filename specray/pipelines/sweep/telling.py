"""What a sweep tells: on the screen, in its last line, in ``sweep.json``."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from specray.pipelines.sweep.combinations import Combination
from specray.pipelines.sweep.config import SweepConfig
from specray.pipelines.sweep.evidence import (
    Choice,
    Scored,
    combinations_of,
    held_out_of,
    recommended_of,
    sets_of,
)
from specray.pipelines.weights import Weights
from specray.tables.report.sweep.words import gain_in_words, in_words


def evidence_of(
    config: SweepConfig, weights: Weights, scored: Scored, choice: Choice, unseen: Scored | None
) -> dict[str, Any]:
    """All that ``sweep.json`` says but for seconds and versions."""
    held_out = None if unseen is None else held_out_of(unseen, choice, config.seed)
    recommended = recommended_of(choice, held_out)
    found: dict[str, Any] = {
        "backbone": config.backbone,
        "weights": {"source": weights.source, "sha256": weights.sha256},
        "image_size": config.image_size,
        "precision": config.precision,
        "command": command_of(config, recommended),
        "recommended": dataclasses.asdict(recommended),
        "papers": dataclasses.asdict(choice.papers),
        "leading": dataclasses.asdict(choice.leading),
        "best": dataclasses.asdict(choice.best),
        "gain": dataclasses.asdict(choice.gain),
        "chosen": choice.chosen,
        "held_out": None,
        "sets": sets_of(scored, "choice"),
        "combinations": combinations_of(scored),
    }
    if unseen is not None and held_out is not None:
        found["sets"] += sets_of(unseen, "held out")
        told = {"combinations": combinations_of(unseen)}
        found["held_out"] = dataclasses.asdict(held_out) | told
    return found


def last_line_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the job's last line has of it."""
    unseen = found["held_out"]
    return {
        "backbone": found["backbone"],
        "recommended": found["recommended"],
        "leading": found["leading"],
        "command": found["command"],
        "gain": found["gain"],
        "held_out_gain": None if unseen is None else unseen["gain"],
        "combinations": len(found["combinations"]),
        "images": sum(each["images"] for each in found["sets"]),
        "errors": sum(len(each["errors"]) for each in found["sets"]),
    }


def command_of(config: SweepConfig, one: Combination) -> str:
    """How ``specray segment`` is told to do as a combination does."""
    flags: dict[str, Any] = {
        "backbone": config.backbone,
        "weights": config.weights,
        "feature": one.feature,
        "block": one.block,
        "color-lambda": one.color_lambda or None,
        "image-size": config.image_size,
        "precision": None if config.precision == "auto" else config.precision,
    }
    given = [(f"--{name}", str(value)) for name, value in flags.items() if value is not None]
    return shlex.join(["specray", "segment", *(part for flag in given for part in flag)])


def in_lines(found: Mapping[str, Any]) -> str:
    """The choice, how sure it is, and what failed."""
    unseen, leading = found["held_out"], found["leading"]
    lines = [f"papers: {in_words(found['papers'])}", f"leading: {in_words(leading)}"]
    lines.append(f"  leads again in {100 * found['chosen']:.0f} % of the resamples")
    ahead = leading != found["papers"]
    if ahead:
        lines.append(f"  {gain_in_words(found['gain'])} on the sets that chose it: flattering")
    if ahead and unseen is not None:
        lines.append(f"  {gain_in_words(unseen['gain'])} on held-out images")
    if found["best"] != leading:
        lines.append(f"ahead of it, by rules that segment does not know: {in_words(found['best'])}")
        if unseen is not None:
            lines.append(f"  {gain_in_words(unseen['gain_of_best'])} on held-out images")
    for each in found["sets"]:
        lines += [f"{each['name']}: {e['key']}: {e['message']}" for e in each["errors"][:5]]
        if (more := len(each["errors"]) - 5) > 0:
            lines.append(f"{each['name']}: {more} more errors, in sweep.json")
    if found["recommended"] != leading:
        lines.append("not confirmed on held-out images: the papers' choice is recommended")
    return "\n".join([*lines, f"use: {found['command']}"])
