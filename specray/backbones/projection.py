"""Features of another method: a small trained head over those of the frozen backbone.

PriMaPs-EM runs on top of STEGO [1]_, of HP, or of anything else that projects the tokens of a
backbone (PriMaPs section 3.4): masks are still found in the backbone's own features.

References
----------
.. [1] M. Hamilton et al., "Unsupervised semantic segmentation by distilling feature
   correspondences", ICLR 2022.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from specray.backbones.base import Backbone
from specray.backbones.weights import parse_weights
from specray.errors import UserError

_LAYERS: Final = {
    r"(linear|cluster1\.0)": "linear",
    r"(nonlinear|cluster2)\.0": "hidden",
    r"(nonlinear|cluster2)\.2": "output",
}
"""Ours, and those of STEGO's checkpoints, whatever stands before them."""
_CENTRES: Final = r"(centres|cluster_probe\.clusters)"


@dataclass(frozen=True)
class Layer:
    """A linear map of the channels of every patch."""

    weight: Tensor
    """(D, C) float32."""
    bias: Tensor | None
    """(D,)."""

    def __call__(self, features: Tensor) -> Tensor:
        """(..., C) to (..., D), on the device of the features."""
        bias = None if self.bias is None else self.bias.to(features.device)
        return F.linear(features, self.weight.to(features.device), bias)


@dataclass(frozen=True)
class Projection:
    """``linear(x) + output(relu(hidden(x)))``, of which either part may be absent."""

    linear: Layer | None
    hidden: Layer | None
    output: Layer | None
    centres: Tensor | None
    """(K, D) float32: where the method has its classes, if it says so."""
    sha256: str
    """Of the file."""

    @property
    def channels(self) -> int:
        """C, that it takes."""
        first = self.linear or self.hidden
        assert first is not None  # `parse_projection`
        return first.weight.shape[1]

    @property
    def dimension(self) -> int:
        """D, that it makes."""
        last = self.linear or self.output
        assert last is not None
        return last.weight.shape[0]

    def __call__(self, features: Tensor) -> Tensor:
        """Project features.

        Parameters
        ----------
        features
            (..., C) float32.

        Returns
        -------
        (..., D) float32.
        """
        parts = []
        if self.linear is not None:
            parts.append(self.linear(features))
        if self.hidden is not None and self.output is not None:
            parts.append(self.output(self.hidden(features).relu()))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


class ProjectedBackbone:
    """A backbone whose features are projected."""

    def __init__(self, backbone: Backbone, projection: Projection) -> None:
        self.name = backbone.name
        self.patch_size = backbone.patch_size
        self._backbone = backbone
        self._projection = projection

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) as of the backbone to (B, N, D) float32."""
        return self._projection(self._backbone(images))


def projected(backbone: Backbone, projection: Projection | None) -> Backbone:
    """The backbone as it is, or with a projection."""
    return backbone if projection is None else ProjectedBackbone(backbone, projection)


def check_channels(backbone: Backbone, projection: Projection) -> None:
    """Refuse a projection of other features than those of the backbone.

    Raises
    ------
    UserError
        It takes another number of channels.
    """
    side = backbone.patch_size
    has = backbone(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape[-1]
    if has != projection.channels:
        raise UserError(
            f"--projection takes {projection.channels} channels, the features of {backbone.name} "
            f"have {has}; name the --backbone and --feature that it was trained on"
        )


def parse_projection(data: bytes, source: str) -> Projection:
    """A projection out of a file of tensors.

    Layers are ``linear.weight`` and ``linear.bias``, ``nonlinear.0.*`` and ``nonlinear.2.*``, class
    centres ``centres``; or ``cluster1.0.*``, ``cluster2.0.*``, ``cluster2.2.*`` and
    ``cluster_probe.clusters``, as in checkpoints of STEGO and of what is built on it. A prefix such
    as ``net.`` does not matter, nor do other tensors. Weights may be those of 1 x 1 convolutions.

    Parameters
    ----------
    data
        The whole file.
    source
        Its name, as of `parse_weights`.

    Raises
    ------
    UserError
        It is damaged, or has no such layers, or they do not fit each other.
    """
    state = parse_weights(data, source)
    layers = {role: _layer(state, pattern, source) for pattern, role in _LAYERS.items()}
    centres = _only(state, rf"(.*\.)?{_CENTRES}", source)
    found = Projection(
        **layers,
        centres=None if centres is None else centres.float(),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    _check(found, source)
    return found


def _layer(state: Mapping[str, Tensor], pattern: str, source: str) -> Layer | None:
    weight = _only(state, rf"(.*\.)?{pattern}\.weight", source)
    if weight is None:
        return None
    if weight.ndim == 4 and weight.shape[2:] == (1, 1):
        weight = weight[:, :, 0, 0]
    if weight.ndim != 2:
        raise UserError(f"{source}: a layer has weights of shape {tuple(weight.shape)}, not (D, C)")
    bias = _only(state, rf"(.*\.)?{pattern}\.bias", source)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise UserError(f"{source}: a layer's bias has shape {tuple(bias.shape)}, not (D,)")
    return Layer(weight.float().contiguous(), None if bias is None else bias.float())


def _only(state: Mapping[str, Tensor], pattern: str, source: str) -> Tensor | None:
    names = [name for name in state if re.fullmatch(pattern, name)]
    if len(names) > 1:
        raise UserError(f"{source} has several of one layer: {', '.join(sorted(names)[:3])}")
    return state[names[0]] if names else None


def _check(found: Projection, source: str) -> None:
    linear, hidden, output = found.linear, found.hidden, found.output
    if (hidden is None) != (output is None) or (linear is None and hidden is None):
        raise UserError(
            f"{source} is no projection: it needs linear.weight, or nonlinear.0.weight and "
            "nonlinear.2.weight, or both"
        )
    fits = True
    if hidden is not None and output is not None:
        fits = output.weight.shape[1] == hidden.weight.shape[0]
        if linear is not None:
            ends = (output.weight.shape[0], hidden.weight.shape[1])
            fits = fits and tuple(linear.weight.shape) == ends
    if found.centres is not None:
        centres = found.centres
        fits = fits and centres.ndim == 2 and centres.shape[1] == found.dimension
    if not fits:
        raise UserError(f"{source}: the shapes of its layers do not fit each other")
    tensors = [t for layer in (linear, hidden, output) if layer for t in (layer.weight, layer.bias)]
    if not all(t.isfinite().all() for t in (*tensors, found.centres) if t is not None):
        raise UserError(f"{source} holds NaN or infinite values")
