"""Where products with a bfloat16 copy of a matrix are faster than with the float32 original."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


@functools.cache
def draft_dtype(device: torch.device) -> torch.dtype:
    """The type in which a device is quickest at matrix products that may be off by 1 %.

    Parameters
    ----------
    device : torch.device
        Where the products run.

    Returns
    -------
    torch.dtype
        bfloat16 where the hardware multiplies it (NVIDIA from Ampere on, CPUs with AVX-512 BF16
        or AMX), else float32: elsewhere bfloat16 is emulated, and slower.
    """
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    elif device.type == "cpu":
        able = torch.cpu.get_capabilities()
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def draft_space(images: int, patches: int, device: torch.device) -> Tensor | None:
    """Memory for the drafts of ``images`` affinities, ``(images, N, N)``; None if none are made."""
    dtype = draft_dtype(device)
    if dtype == torch.float32:
        return None
    return torch.empty(images, patches, patches, dtype=dtype, device=device)
