"""Fitted prototypes as a file: what `specray train-primaps` makes and `specray predict` applies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from specray.errors import UserError
from specray.semantics.codebook_file import digest_of

VERSION: Final = 1

_ENTRY: Final = "specray.prototypes"
_HEADS: Final = ("momentum", "running")
_FOREIGN: Final = (
    "the prototypes are damaged or none of specray; make them again with specray train-primaps"
)


@dataclass(frozen=True)
class Classifier:
    """Linear heads over un-normalised features of patches, without bias.

    The class of a place is the one of largest score, after linear interpolation of the scores.
    """

    momentum: NDArray[np.float32]
    """(K, C) directions times gains: the running average, which is what the paper reports."""
    running: NDArray[np.float32]
    """(K, C) as the optimiser left them."""
    features: Mapping[str, Any]
    """JSON of whatever decides the features: backbone, weights, image size, ..."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """JSON of how the heads were fitted."""

    @property
    def classes(self) -> int:
        """K."""
        return len(self.momentum)

    def to_bytes(self) -> bytes:
        """One safetensors file; equal contents give equal bytes."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _HEADS}
        document = {"features": self.features, "provenance": self.provenance}
        text = json.dumps(document, allow_nan=False, sort_keys=True)
        entry = {"version": VERSION, "sha256": digest_of(arrays, text), "document": text}
        # one entry: safetensors writes several in an order that differs from time to time
        data: bytes = save(arrays, {_ENTRY: json.dumps(entry)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Classifier:
        """Those of a file.

        Raises
        ------
        UserError
            The bytes are damaged, something else, or of another version.
        """
        try:
            arrays = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            entry = json.loads(header["__metadata__"][_ENTRY])
            version, text = entry["version"], entry["document"]
            whole = entry["sha256"] == digest_of(arrays, text)
            document = json.loads(text)
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError):
            raise UserError(_FOREIGN) from None
        if not whole or not _fits(arrays):
            raise UserError(_FOREIGN)
        if version != VERSION:
            raise UserError(f"the prototypes have version {version}; this specray reads {VERSION}")
        return cls(arrays["momentum"], arrays["running"], **document)


def _fits(arrays: Mapping[str, NDArray[Any]]) -> bool:
    shapes = {array.shape for array in arrays.values()}
    return (
        set(arrays) == set(_HEADS)
        and len(shapes) == 1
        and len(next(iter(shapes))) == 2
        and all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
    )
