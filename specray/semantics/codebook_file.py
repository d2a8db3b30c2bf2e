"""The bytes of a codebook: one safetensors file with a JSON document in its metadata.

Layout, version 1: tensors as in `ARRAYS`, with PCA those of `SPACE_ARRAYS`; the one entry of the
metadata is JSON of ``version``, ``document`` (JSON) and ``sha256`` of document and tensors.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from specray.errors import UserError
from specray.semantics.packing import Arrays, Format

ARRAYS: dict[str, tuple[type, str]] = {
    "ids": (np.int64, "K"),
    "centroids": (np.float32, "Kd"),
    "means": (np.float32, "KD"),
    "sizes": (np.int64, "K"),
    "radii": (np.float64, "K"),
    "merges": (np.float64, "M4"),
}
"""Type and shape: K classes, M = K - 1, D dimensions of a feature, d of a projected point."""

SPACE_ARRAYS: dict[str, tuple[type, str]] = {
    "mean": (np.float32, "D"),
    "components": (np.float32, "dD"),
    "scale": (np.float32, "d"),
}

FOREIGN = "the codebook is damaged or no codebook of specray; make it again with specray label"

FORMAT: Final = Format(
    "specray.codebook",
    1,
    FOREIGN,
    "the codebook has version {found}; this specray reads {version}; cluster anew",
)


def pack(arrays: Arrays, document: dict[str, Any]) -> bytes:
    """The bytes of a codebook's arrays and document."""
    return FORMAT.pack(arrays, document)


def unpack(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and document, whole and of fitting shapes.

    Raises
    ------
    UserError
        The bytes are damaged, something else, or of another version.
    """
    arrays, document = FORMAT.unpack(data)
    try:
        fits = _fits(arrays, document)
    except (ValueError, TypeError, AttributeError):
        raise UserError(FOREIGN) from None
    if not fits:
        raise UserError(FOREIGN)
    return arrays, document


def _fits(arrays: Arrays, document: dict[str, Any]) -> bool:
    """Whether types, shapes and values are what a codebook promises."""
    expected = ARRAYS | {name: SPACE_ARRAYS[name] for name in SPACE_ARRAYS if name in arrays}
    if set(arrays) != set(expected) or ("mean" in arrays) != ("components" in arrays):
        return False
    if any(arrays[name].dtype != kind for name, (kind, _) in expected.items()):
        return False
    if arrays["centroids"].ndim != 2 or arrays["means"].ndim != 2:
        return False
    classes, projected = arrays["centroids"].shape
    dimensions = arrays["means"].shape[1]
    sizes = {"K": classes, "M": classes - 1, "D": dimensions, "d": projected, "4": 4}
    shapes = {
        name: tuple(sizes[letter] for letter in shape) for name, (_, shape) in expected.items()
    }
    ids = arrays["ids"]
    return (
        classes > 0
        and all(arrays[name].shape == shape for name, shape in shapes.items())
        and all(np.isfinite(array).all() for array in arrays.values())
        and document.get("dimensions") == dimensions
        and ("components" in arrays or projected == dimensions)
        and len(document.get("medoids", ())) == classes
        and bool(ids.min() >= 0 and len(np.unique(ids)) == classes and arrays["sizes"].min() > 0)
        and int(ids.max()) < document.get("next_id", 0)
        and _is_tree(arrays["merges"][:, :2])
    )


def _is_tree(merged: NDArray[np.float64]) -> bool:
    """Whether each row merges two nodes that are there by then, and each node is merged once."""
    if not len(merged):
        return True
    made = len(merged) + 1 + np.arange(len(merged))
    once = len(np.unique(merged)) == merged.size
    return bool(once and (merged >= 0).all() and (merged.max(axis=1) < made).all())
