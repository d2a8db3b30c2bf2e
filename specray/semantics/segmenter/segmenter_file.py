"""A trained segmenter as one file: what `specray train-segmenter` makes and `predict` applies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.errors import UserError
from specray.semantics.packing import Format
from specray.semantics.segmenter.config import NetworkConfig

if TYPE_CHECKING:
    from specray.semantics.segmenter.networks import SegmentationNetwork

_FOREIGN: Final = (
    "the segmenter is damaged or none of specray; make it again with specray train-segmenter"
)
_FORMAT: Final = Format(
    "specray.segmenter",
    1,
    _FOREIGN,
    "the segmenter has version {found}; this specray reads {version}; train it again",
)


@dataclass(frozen=True)
class Segmenter:
    """A network with its weights, and what its classes are."""

    network: NetworkConfig
    """Which."""
    ids: tuple[int, ...]
    """(K,) ids of the classes, by the place of their logits."""
    names: Mapping[int, str]
    """Of classes by their ids, for those that have one."""
    state: Mapping[str, NDArray[Any]]
    """All weights, encoder included, as in ``SegmentationNetwork.state_dict()``."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """JSON of how it was trained: `SegmenterConfig`, sizes that images had."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """JSON of what it was trained on: labels, weights of the encoder, steps, versions, ..."""

    @classmethod
    def of(
        cls,
        network: SegmentationNetwork,
        config: NetworkConfig,
        ids: tuple[int, ...],
        names: Mapping[int, str],
        training: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> Segmenter:
        """That of a network, as it is now."""
        state = {name: each.cpu().numpy() for name, each in network.state_dict().items()}
        return cls(config, ids, names, state, training, provenance)

    def build(self) -> SegmentationNetwork:
        """The network, in evaluation mode.

        Raises
        ------
        UserError
            The weights are not those of this network.
        """
        # timm and torchvision take seconds to import, which who only reads the file does without
        from specray.semantics.segmenter.networks import build_network

        network = build_network(self.network, len(self.ids), weights=None)
        state: dict[str, Tensor] = {
            name: torch.from_numpy(each.copy()) for name, each in self.state.items()
        }
        try:
            network.load_state_dict(state)
        except RuntimeError:
            raise UserError(_FOREIGN) from None
        return network.eval()

    def to_bytes(self) -> bytes:
        """One safetensors file; equal contents give equal bytes."""
        document = {
            "network": dataclasses.asdict(self.network),
            "ids": list(self.ids),
            "names": {str(number): name for number, name in self.names.items()},
            "training": self.training,
            "provenance": self.provenance,
        }
        return _FORMAT.pack(self.state, document)

    @staticmethod
    def is_one(data: bytes) -> bool:
        """Whether a file says that it is a segmenter."""
        return _FORMAT.names(data)

    @classmethod
    def from_bytes(cls, data: bytes) -> Segmenter:
        """That of a file.

        Raises
        ------
        UserError
            The bytes are damaged, something else, or of another version.
        """
        arrays, document = _FORMAT.unpack(data)
        try:
            found = cls(
                NetworkConfig(**document.pop("network")),
                tuple(map(int, document.pop("ids"))),
                {int(number): name for number, name in document.pop("names").items()},
                arrays,
                **document,
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(_FOREIGN) from None
        if not all(np.isfinite(each).all() for each in arrays.values()):
            raise UserError(_FOREIGN)
        return found
