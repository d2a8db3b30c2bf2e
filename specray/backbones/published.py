"""Weights of a timm model from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import timm
from huggingface_hub import hf_hub_download

from specray.errors import UserError


def published_weights(name: str) -> tuple[bytes, str]:
    """Weights of a timm model from the Hugging Face hub (or its local cache), and their source.

    Raises
    ------
    UserError
        timm names no published weights for this model, or the hub cannot be reached.
    """
    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the part behind the dot is none of its tags
        cfg = None
    if cfg is None or not cfg.hf_hub_id:
        known = ", ".join(timm.list_pretrained(f"{name.split('.')[0]}*")[:3]) or "vit_* models"
        raise UserError(
            f"timm publishes no weights for {name}; pass --weights FILE.safetensors, or name one "
            f"of its own, such as {known}"
        )
    source = f"hf://{cfg.hf_hub_id}/model.safetensors"
    try:
        path = hf_hub_download(cfg.hf_hub_id, "model.safetensors")
    except Exception as error:  # the hub client raises a different type per transport failure
        raise UserError(
            f"cannot get {source} ({type(error).__name__}); pass --weights FILE.safetensors, "
            "or --backbone descriptor for a trial without weights"
        ) from error
    return Path(path).read_bytes(), source
