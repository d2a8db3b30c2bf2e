"""Reading weights without ever unpickling: safetensors, or ``torch.load(weights_only=True)``."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path

import safetensors.torch
import timm
import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from torch import Tensor

from specray.errors import UserError

_DAMAGED = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
)
"""What the two parsers raise on bytes that are no weights, damaged or in an unknown type."""


def parse_weights(data: bytes, source: str) -> dict[str, Tensor]:
    """State dict out of a weights file.

    Parameters
    ----------
    data
        The whole file.
    source
        Its name: ``.safetensors``, or a torch file that holds nothing but tensors.

    Raises
    ------
    UserError
        The file is damaged, or would need unpickling of anything but tensors.
    """
    try:
        if source.endswith(".safetensors"):
            return safetensors.torch.load(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise UserError(
            f"{source} is no weights file that is safe to load ({type(error).__name__}); "
            "convert it to .safetensors"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{source} holds no plain state dict of tensors; save one as .safetensors")
    return state


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
