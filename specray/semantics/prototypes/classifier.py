"""Fitted prototypes as a file: what `specray train-primaps` makes and `specray predict` applies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from specray.errors import UserError
from specray.semantics.packing import Format

_HEADS: Final = ("momentum", "running")
_FOREIGN: Final = (
    "the prototypes are damaged or none of specray; make them again with specray train-primaps"
)
_FORMAT: Final = Format(
    "specray.prototypes",
    1,
    _FOREIGN,
    "the prototypes have version {found}; this specray reads {version}",
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
        arrays = {name: getattr(self, name) for name in _HEADS}
        return _FORMAT.pack(arrays, {"features": self.features, "provenance": self.provenance})

    @classmethod
    def from_bytes(cls, data: bytes) -> Classifier:
        """Those of a file.

        Raises
        ------
        UserError
            The bytes are damaged, something else, or of another version.
        """
        arrays, document = _FORMAT.unpack(data)
        if not _fits(arrays) or set(document) != {"features", "provenance"}:
            raise UserError(_FOREIGN)
        return cls(arrays["momentum"], arrays["running"], **document)


def _fits(arrays: Mapping[str, NDArray[Any]]) -> bool:
    shapes = {array.shape for array in arrays.values()}
    return (
        set(arrays) == set(_HEADS)
        and len(shapes) == 1
        and len(next(iter(shapes))) == 2
        and all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
    )
