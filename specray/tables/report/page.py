"""What the pages of all reports share: their templates and how they write numbers."""

from __future__ import annotations

from math import isnan
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def page_of(template: str, **values: Any) -> str:
    """The text of a page.

    Parameters
    ----------
    template
        A file of ``templates/``.
    values
        What it shows; all of it is escaped.
    """
    environment = Environment(
        loader=PackageLoader("specray.tables.report"),
        autoescape=True,  # keys and messages come from strangers
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": _count,
        "file_size": _file_size,
        "duration": _duration,
        "percent": _percent,
        "figure": _figure,
    }
    return environment.get_template(template).render(**values)


def settings(tree: dict[str, Any], title: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """A tree of mappings as titled lists of names and values, one per mapping.

    Examples
    --------
    >>> settings({"seed": 0, "images": {"limit": None, "sizes": [1, 2]}}, "segment")
    [('segment', [('seed', '0')]), ('images', [('limit', '–'), ('sizes', '1, 2')])]
    """
    leaves = [(name, _plain(value)) for name, value in tree.items() if not isinstance(value, dict)]
    found = [(title, leaves)] if leaves else []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += settings(value, name)
    return found


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value is None else str(value)


def _count(number: int, singular: str = "", plural: str | None = None) -> str:
    """A number with thousands set apart, and the noun that goes with it."""
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {noun}".rstrip() if singular else f"{number:,}"


def _percent(share: float) -> str:
    """A share of 1, with a decimal where there are few."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _figure(value: float | None) -> str:
    """Two decimals, or a dash where there is nothing to measure."""
    return "–" if value is None or isnan(value) else f"{value:.2f}"


def _file_size(size: float) -> str:
    """Bytes in decimal units."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
