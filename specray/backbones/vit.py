"""Patch features of any timm Vision Transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specray.backbones.config import Feature
from specray.errors import UserError

# What a checkpoint may hold beyond the trunk: classifier heads, DINOv2's masked-patch token.
_IGNORED_KEYS = ("head.", "head_dist.", "fc_norm.", "mask_token", "fc.", "classifier.")
# What no result depends on, and some checkpoints lack: a counter of batch norms.
_IGNORED_ENDS = ("num_batches_tracked",)


class ProjectionTap(nn.Module):
    """The last block, cut down to one projection of its attention.

    Maps tokens (B, T, D) to their q, k or v after the block's first norm, heads
    concatenated: columns of the qkv projection (DSM §3.1). What the block would
    do afterwards (about 8 % of a ViT's work) is never computed.
    """

    def __init__(self, block: Any, feature: Feature) -> None:
        super().__init__()
        attention = block.attn
        part = "qkv".index(feature)
        if isinstance(getattr(attention, "qkv", None), nn.Linear):
            weight = attention.qkv.weight.chunk(3)[part]
            bias = _bias(attention, feature, part)
        else:  # separate projections, as some EVA models have
            projection = getattr(attention, f"{feature}_proj")
            weight, bias = projection.weight, projection.bias
        self.norm = block.norm1
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.bias = None
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor, **_: object) -> Tensor:
        """Tokens (B, T, D) to projected tokens (B, T, D); rotary positions are not applied."""
        return F.linear(self.norm(x), self.weight, self.bias)


def _bias(attention: Any, feature: Feature, part: int) -> Tensor | None:
    if attention.qkv.bias is not None:
        chunks: tuple[Tensor, ...] = attention.qkv.bias.chunk(3)
        return chunks[part]
    bias: Tensor | None = getattr(attention, f"{feature}_bias", None)  # EVA keeps them apart
    return bias


class VitBackbone:
    """A timm ViT as a map from images to patch features.

    Parameters
    ----------
    name
        timm model name, such as ``vit_small_patch16_224.dino``.
    state
        Weights in timm's layout; a classifier head in them is ignored.
    feature, block
        Which projection of which block; ``token`` is the block's output, after the
        model's final norm if the block is the last.
    device, dtype
        Where and in which arithmetic the network runs. Features are always float32.

    Raises
    ------
    UserError
        Unknown model, not a ViT, a block it does not have, weights that do not fit.
    """

    def __init__(
        self,
        name: str,
        state: dict[str, Tensor],
        *,
        feature: Feature = "k",
        block: int = -1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        model = create_vit(name)
        load_state(model, state, name)
        _truncate(model, feature, block_index(block, len(model.blocks)))
        self.name = name
        self.patch_size = int(model.patch_embed.patch_size[0])
        self._prefix = int(model.num_prefix_tokens)
        self._model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self._dtype = dtype
        self._mean, self._std = pixel_statistics(model.pretrained_cfg, device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features of RGB images.

        Parameters
        ----------
        images
            (B, 3, H, W), H and W multiples of ``patch_size``, uint8 or floats from 0 to 255; moved
            to the device.

        Returns
        -------
        Tensor
            (B, N, D) float32 on the device, N = (H / P) (W / P), row by row.
        """
        x = images.to(self._mean.device, non_blocking=True).float()
        x = ((x - self._mean) / self._std).to(self._dtype)
        tokens: Tensor = self._model.forward_features(x)
        return tokens[:, self._prefix :].float()


class ClassToken:
    """A timm ViT as a map from images to its class token after the final norm (DSM, section 3.4).

    Parameters
    ----------
    name, state, device, dtype
        As of `VitBackbone`.

    Raises
    ------
    UserError
        As `VitBackbone`, or a model that has no class token.
    """

    def __init__(
        self,
        name: str,
        state: dict[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        model = create_vit(name)
        load_state(model, state, name)
        if getattr(model, "cls_token", None) is None:
            raise UserError(f"{name} has no class token; use --describe mean")
        self.patch_size = int(model.patch_embed.patch_size[0])
        self._model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self._dtype = dtype
        self._mean, self._std = pixel_statistics(model.pretrained_cfg, device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 RGB, H and W multiples of ``patch_size``, to (B, D) float32."""
        x = images.to(self._mean.device, non_blocking=True).float()
        x = ((x - self._mean) / self._std).to(self._dtype)
        tokens: Tensor = self._model.forward_features(x)
        return tokens[:, 0].float()


def pixel_statistics(cfg: Mapping[str, Any], device: torch.device | str = "cpu") -> Tensor:
    """(2, 1, 3, 1, 1) mean and deviation of the values 0 to 255 that a model was trained on.

    Parameters
    ----------
    cfg
        timm's ``pretrained_cfg`` of the model.
    device
        Of the result.
    """
    statistics = torch.tensor([cfg["mean"], cfg["std"]]) * 255
    return statistics.view(2, 1, 3, 1, 1).to(device)


def create_vit(name: str) -> Any:
    """A timm ViT by name, without a classifier, with random weights, for images of any size.

    Raises
    ------
    UserError
        timm has no such model, or it is no ViT.
    """
    require_model(name)
    try:
        model: Any = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except (TypeError, RuntimeError, ValueError) as error:
        raise UserError(f"{name} is no ViT with free image size; choose a vit_* model") from error
    if not (hasattr(model, "blocks") and hasattr(model.blocks[0], "attn")):
        raise UserError(f"{name} has no transformer blocks to take features from; choose a vit_*")
    return model


def require_model(name: str) -> None:
    """Refuse what timm does not know.

    Raises
    ------
    UserError
        There is no such model; names some that resemble it.
    """
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('.')[0]}*")[:3]
        hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models('vit*')"
        raise UserError(f"timm knows no model named {name!r}; {hint}")


def load_state(
    model: Any, state: Mapping[str, Tensor], name: str, flag: str = "--backbone"
) -> None:
    """Load the weights of a trunk, all of them; a classifier head in them is ignored.

    Parameters
    ----------
    model, name
        What to load them into.
    state
        In timm's layout.
    flag
        What the person at the keyboard chooses the model by.

    Raises
    ------
    UserError
        Tensors are missing, unknown, or of another shape.
    """
    state, own = _trunk(state), _trunk(model.state_dict())
    missing, unknown = own.keys() - state.keys(), state.keys() - own.keys()
    shapes = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    wrong = sorted(missing) or sorted(unknown) or sorted(shapes)
    if wrong:
        raise UserError(
            f"the weights do not fit {name}: {len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(shapes)} of another shape (first: {wrong[0]}); "
            f"name the {flag} they belong to"
        )
    model.load_state_dict(state, strict=False)  # but for what nobody asks it for


def _trunk(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key: value
        for key, value in state.items()
        if not key.startswith(_IGNORED_KEYS) and not key.endswith(_IGNORED_ENDS)
    }


def block_index(block: int, depth: int) -> int:
    """A block counted from 0, of one that may be counted from the end.

    Raises
    ------
    UserError
        The model has no such block.
    """
    if not -depth <= block < depth:
        raise UserError(f"--block {block}: this model has blocks 0 to {depth - 1}")
    return block % depth


def _truncate(model: Any, feature: Feature, block: int) -> None:
    """Drop everything that the requested feature does not need."""
    blocks = list(model.blocks)
    is_last = block == len(blocks) - 1
    if feature == "token":
        kept = blocks[: block + 1]
    else:
        kept = [*blocks[:block], ProjectionTap(blocks[block], feature)]
    model.blocks = nn.Sequential(*kept)
    if feature != "token" or not is_last:
        model.norm = nn.Identity()
