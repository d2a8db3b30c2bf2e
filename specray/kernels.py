"""How compiled functions are compiled, and where the machine code is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

_PACKAGE = Path(__file__).parent


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, without the lock of Python."""
    return _compile(function, inline=False)


def inlined(function: Callable[..., Any]) -> Any:
    """As `compiled`, for a small function that others call in their loops."""
    return _compile(function, inline=True)


def _compile(function: Callable[..., Any], *, inline: bool) -> Any:
    settings: Any = numba.config
    folder, before = _folder(_room(function)), settings.CACHE_DIR
    settings.CACHE_DIR = folder or before
    try:
        decorate = numba.njit(nogil=True, cache=folder is not None, forceinline=inline)
        return decorate(function)
    finally:
        settings.CACHE_DIR = before


def _room(function: Callable[..., Any]) -> Path:
    """Folder of the room whose source has the function: the first below that of the package."""
    source = Path(function.__code__.co_filename)
    return _PACKAGE / source.relative_to(_PACKAGE).parts[0]


@cache
def _folder(room: Path) -> str | None:
    """Folder of the machine code of a room's very sources; None if no place for it can be written.

    numba looks at the file of a function alone, but functions of other files are inlined into it:
    so the folder has the name of all of them, and of this file, which says how to compile. It is
    that of NUMBA_CACHE_DIR, or beside the sources, or in the home of the user; elsewhere others
    could put code there for us to run.
    """
    digest = hashlib.sha256()
    for file in (Path(__file__), *sorted(room.rglob("*.py"))):
        digest.update(file.read_bytes())
    places = [room / "__pycache__", Path("~/.cache/specray").expanduser()]
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(given)]
    for place in places:
        folder = place / f"kernels-{digest.hexdigest()[:16]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # not writable; there is no home
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return None
