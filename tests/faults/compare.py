"""``python -m tests.faults.compare URI URI``: do two outputs hold the same rows, each once?

Both made with the same ``--shard-size``; memory holds a shard of each.
"""

from __future__ import annotations

import sys
from itertools import zip_longest

from specray.tables import scan


def difference(one: str, other: str) -> str | None:
    """The first difference of two outputs, shard by shard; None if there is none."""
    last, rows = "", 0
    for a, b in zip_longest(scan(one), scan(other)):
        if a is None or b is None:
            return f"one ends after {rows} rows, the other goes on"
        keys = a["key"].to_pylist()
        if keys != sorted(set(keys)) or keys[0] <= last:
            return f"keys out of order or twice after {last!r}"
        if not a.equals(b):
            return f"rows differ between {keys[0]!r} and {keys[-1]!r}"
        last, rows = keys[-1], rows + len(keys)
    return None


if __name__ == "__main__":
    found = difference(*sys.argv[1:3])
    print(found or "the same rows")
    sys.exit(found is not None)
