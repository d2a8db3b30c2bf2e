"""How compiled functions are compiled, and where the machine code is kept."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.caching import UserProvidedCacheLocator

_PACKAGE = Path(__file__).parent


class KernelLocator(UserProvidedCacheLocator):
    """Keeps code by the place of its source in the package, wherever that lies.

    Ray puts each package that is submitted into a folder of its own, where all would be compiled
    anew.
    """

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        """Of the folder of a source, below that of the machine code."""
        return str(Path(py_file).relative_to(_PACKAGE).parent)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, without the lock of Python."""
    return _compile(function, inline=False)


def inlined(function: Callable[..., Any]) -> Any:
    """As `compiled`, for a small function that others call in their loops."""
    return _compile(function, inline=True)


def _compile(function: Callable[..., Any], *, inline: bool) -> Any:
    settings: Any = numba.config
    folder = _folder(_room(function))
    decorate = numba.njit(nogil=True, cache=folder is not None, forceinline=inline)
    if folder is None:
        return decorate(function)
    before = settings.CACHE_DIR, settings.CACHE_LOCATOR_CLASSES
    locator = f"{__name__}.{KernelLocator.__name__}"
    settings.CACHE_DIR, settings.CACHE_LOCATOR_CLASSES = folder, locator
    try:
        return decorate(function)
    finally:
        settings.CACHE_DIR, settings.CACHE_LOCATOR_CLASSES = before


def _room(function: Callable[..., Any]) -> Path:
    """Folder of the room whose source has the function: the first below that of the package."""
    source = Path(function.__code__.co_filename)
    return _PACKAGE / source.relative_to(_PACKAGE).parts[0]


@cache
def _folder(room: Path) -> str | None:
    """Folder of the machine code of a room's very sources; None if no place for it can be written.

    numba looks at the file of a function alone, but functions of other files are inlined into it:
    so the folder has the name of all of them, and of this file, which says how to compile. It is
    that of NUMBA_CACHE_DIR, or in the home of the user, where all copies of the same sources find
    it, or beside them; elsewhere others could put code there for us to run. What was kept for other
    sources stays, some 5 MB for each.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for file in (Path(__file__), *sorted(room.rglob("*.py"))):
        digest.update(file.read_bytes())
    places = [*_home(), room / "__pycache__"]
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(given)]
    for place in places:
        folder = place / f"kernels-{digest.hexdigest()[:16]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # not writable
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return None


def _home() -> list[Path]:
    try:
        return [Path("~/.cache/specray").expanduser()]
    except RuntimeError:  # there is none
        return []


@numba.njit(nogil=True, forceinline=True)  # a part of who calls, and kept with it
def exp(x):  # type: ignore[no-untyped-def]
    """e ** x for x <= 0, to a rounding error or two, in operations that LLVM can vectorise.

    The power of two is put together from its bits, the rest is the polynomial of Cephes (S. L.
    Moshier, 1992). The library's function is five times slower.
    """
    power = math.floor(x * np.float32(1.44269504) + np.float32(0.5))
    rest = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    value = np.float32(1.9875691500e-4)
    value = value * rest + np.float32(1.3981999507e-3)
    value = value * rest + np.float32(8.3334519073e-3)
    value = value * rest + np.float32(4.1665795894e-2)
    value = value * rest + np.float32(1.6666665459e-1)
    value = value * rest + np.float32(5.0000001201e-1)
    value = value * rest * rest + rest + np.float32(1)
    scale = np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
    return value * scale if x > np.float32(-87) else np.float32(0)
