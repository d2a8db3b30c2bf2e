"""Figures that others have published, to print beside ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LINE: Final = re.compile(
    r"(?P<figure>[\w.]+) +(?P<value>\d+(\.\d+)?)"
    r"( *(\+-|±) *(?P<sd>\d+(\.\d+)?))? *\| *(?P<source>.+)"
)


@dataclass(frozen=True)
class Published:
    """A figure as it was published."""

    figure: str
    """As scores.json has it, such as ``semantic.pixels.miou``."""
    value: float
    """In [0, 1]."""
    sd: float | None
    """Over seeds, in [0, 1]."""
    source: str
    """Where it stands, and whether somebody has looked."""


def parse_published(line: str) -> Published:
    """A figure in percent and its source.

    Raises
    ------
    ValueError
        It is written otherwise.

    Examples
    --------
    >>> parse_published("semantic.iou.miou 30.8 +- 2.7 | DSM, table 4")
    Published(figure='semantic.iou.miou', value=0.308, sd=0.027, source='DSM, table 4')
    """
    found = _LINE.fullmatch(line.strip())
    if found is None:
        raise ValueError(
            f"--published {line!r}: write it as 'localisation.corloc 62.7 | source', in percent, "
            "with '+- 1.2' before the bar if there is a deviation"
        )
    sd = found["sd"]
    return Published(
        found["figure"],
        round(float(found["value"]) / 100, 6),
        None if sd is None else round(float(sd) / 100, 6),
        found["source"],
    )
