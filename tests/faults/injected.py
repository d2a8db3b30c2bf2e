"""Faults that are put into every process of a command, Ray's workers too."""

from __future__ import annotations

from pathlib import Path

_SITECUSTOMIZE = """
import importlib.util
import sys


class Hook:
    def find_spec(self, name, path, target=None):
        if name != {name!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            exec({code!r}, {{"module": module}})

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Hook())
"""


def injected(folder: Path, module: str, code: str) -> dict[str, str]:
    """Variables with which every Python process runs `code` after it has imported `module`.

    Parameters
    ----------
    folder
        Where the hook is written.
    code
        Its globals hold the ``module``.
    """
    folder.mkdir(exist_ok=True)
    text = _SITECUSTOMIZE.format(name=module, code=code)
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
