"""The folder of a report in its output: a page and the pictures it shows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from specray.sources import Store

FOLDER: Final = "report/"
PAGE: Final = f"{FOLDER}index.html"
PICTURES: Final = f"{FOLDER}pictures/"

DRAWERS: Final = 4
"""Images that are read and drawn at a time; each may hold a full-size picture in memory."""


@dataclass(frozen=True)
class Written:
    """What a report has become."""

    files: int
    bytes: int
    location: str
    """URI of the page."""


def write_report(output: Store, page: str, pictures: Mapping[str, bytes]) -> Written:
    """Write a report into an output, in place of an earlier one.

    Parameters
    ----------
    output
        Of the run.
    page
        Text of ``index.html``.
    pictures
        Files by their names within ``pictures/``.
    """
    files = {f"{PICTURES}{name}": data for name, data in pictures.items()}
    with ThreadPoolExecutor(DRAWERS) as pool:
        list(pool.map(output.write, files.keys(), files.values()))
    files[PAGE] = page.encode()
    output.write(PAGE, files[PAGE])  # last, so that it never refers to what is not there
    stale = [e.key for e in output.list() if e.key.startswith(PICTURES) and e.key not in files]
    for key in stale:
        output.delete(key)
    size = sum(map(len, files.values()))
    return Written(len(files), size, f"{output.uri.rstrip('/')}/{PAGE}")
