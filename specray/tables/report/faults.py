"""Error codes of the rows: how often, with examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from specray.tables.report.sample import Smallest, ranks_of

EXAMPLES: Final = 3
"""Examples of every error code."""


@dataclass
class Fault:
    """An error code: how often, and a few rows that have it."""

    count: int = 0
    examples: Smallest = field(default_factory=lambda: Smallest(EXAMPLES))


def add_faults(faults: dict[str, Fault], rows: pa.Table) -> int:
    """Add the error rows of a table, which are all of it, to what is known of their codes.

    Returns
    -------
    How many they are.
    """
    codes = pc.struct_field(rows["error"], "code")
    for code in pc.unique(codes).to_pylist():
        same = rows.filter(pc.equal(codes, code))
        fault = faults.setdefault(code, Fault())
        fault.count += same.num_rows
        fault.examples.offer(ranks_of(same), same)
    return int(rows.num_rows)


def most_frequent(faults: dict[str, Fault]) -> list[tuple[str, Fault]]:
    """By falling frequency."""
    return sorted(faults.items(), key=lambda item: (-item[1].count, item[0]))
