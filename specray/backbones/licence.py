"""Weights that are not free for every use."""

from __future__ import annotations

from specray.backbones.config import BackboneConfig
from specray.errors import UserError


def check_licence(config: BackboneConfig) -> None:
    """Refuse DINOv3, whose licence is its own, until the person has accepted it."""
    if "dinov3" in config.backbone and not config.accept_dinov3_licence:
        raise UserError(
            f"{config.backbone} comes under the DINOv3 License, not an open one; "
            "read it, then pass --accept-dinov3-licence"
        )
