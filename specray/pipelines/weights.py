"""From a configuration to the bytes of its weights, on whichever machine asks."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

from specray import backbones
from specray.backbones import DESCRIPTOR, BackboneConfig, Projection, check_licence
from specray.errors import UserError
from specray.pipelines.given import read_given
from specray.sources import absolute


@dataclass(frozen=True)
class Weights:
    """A weights file: its contents, where it came from and its SHA-256. The descriptor has none."""

    data: bytes | None = None
    source: str = "none"
    sha256: str | None = None
    """In hexadecimal digits, as recorded with every output."""
    projection: Projection | None = None
    """Of another method, on top of the features."""


def load_weights(config: BackboneConfig, endpoint: str | None) -> Weights:
    """Read the weights that the configuration names.

    Raises
    ------
    UserError
        Licence not accepted, no such file, or no way to the hub.
    """
    check_licence(config)
    if config.backbone == DESCRIPTOR:
        if config.weights is not None:
            raise UserError("the descriptor takes no weights; drop --weights or name a --backbone")
        return Weights()
    if config.weights is None:
        data, source = backbones.published_weights(config.backbone)
    else:
        source = config.weights
        data = read_given(source, "--weights", endpoint)
    return Weights(data, source, hashlib.sha256(data).hexdigest())


def load_projection(uri: str | None, endpoint: str | None) -> Projection | None:
    """Read what ``--projection`` names, if anything.

    Raises
    ------
    UserError
        No such file, or no projection.
    """
    if uri is None:
        return None
    return backbones.parse_projection(read_given(uri, "--projection", endpoint), uri)


def weights_of_run(config: BackboneConfig, endpoint: str | None) -> Weights:
    """All that a run's features are made with.

    Raises
    ------
    UserError
        As `load_weights` and `load_projection`.
    """
    projection = load_projection(config.projection, endpoint)
    return dataclasses.replace(load_weights(config, endpoint), projection=projection)


def for_workers(config: BackboneConfig) -> BackboneConfig:
    """The same for processes of another working directory, as those of Ray Train have."""
    weights, projection = (
        None if uri is None else absolute(uri) for uri in (config.weights, config.projection)
    )
    return dataclasses.replace(config, weights=weights, projection=projection)
