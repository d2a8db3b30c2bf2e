"""``run.json``: what an output is, how it was made and how it went."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from specray.errors import UserError
from specray.sources import Store
from specray.tables.objects import if_there

NAME: Final = "run.json"

_RECORDED = (
    *("specray", "torch", "timm", "ray", "numpy", "scipy", "pyarrow", "pillow"),
    *("numba", "pymatting", "faiss-cpu", "scikit-learn"),
)


def package_versions() -> dict[str, str]:
    """Versions of everything that can change a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in _RECORDED}


def write_run(store: Store, run: dict[str, Any]) -> None:
    """Publish the run record."""
    store.write(NAME, json.dumps(run, indent=2, ensure_ascii=False).encode())


def read_run(store: Store) -> dict[str, Any] | None:
    """The run record of an output, or None if there is none.

    Raises
    ------
    UserError
        There is a file of that name that is no run record.
    """
    blob = if_there(store, NAME, lambda: store.read(NAME))
    if blob is None:
        return None
    try:
        run = json.loads(blob.data)
        if isinstance(run, dict) and "configuration" in run:
            return run
    except ValueError:
        pass
    raise UserError(f"{store.uri} holds a {NAME} that specray did not write; use another --output")


def refine_method(configuration: Mapping[str, Any]) -> str:
    """How a run with this configuration refined its masks: ``none``, ``fast`` or ``crf``."""
    method: str = configuration.get("refinement", {}).get("refine", "none")
    return method
