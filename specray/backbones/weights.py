"""Reading weights without ever unpickling: safetensors, or ``torch.load(weights_only=True)``."""

from __future__ import annotations

import io
import pickle
import struct

import safetensors.torch
import torch
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
