"""DeepLabV3+ with any convolutional encoder of timm (Chen et al. [1]_).

The library's decoder, with what the self-training of DSM has in it: features at 1/8 of the image,
dilation rates 12, 24 and 36, 256 channels, dropout 0.5, 48 channels of low-level features at 1/4.
It follows the paper of DeepLabV3+ in its separable convolutions; the release of DSM has plain ones,
and none between the pyramid and the low-level features.

References
----------
.. [1] L.-C. Chen et al., "Encoder-decoder with atrous separable convolution for semantic image
   segmentation", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn

from specray.backbones.views import IMAGENET
from specray.backbones.vit import load_state, pixel_statistics, require_model
from specray.errors import UserError
from specray.semantics.segmenter.config import NetworkConfig
from specray.semantics.segmenter.parts import Parts

_CELL: Final = 4
_REFUSALS: Final = (TypeError, ValueError, RuntimeError, AssertionError, NotImplementedError)


def deeplab(config: NetworkConfig, classes: int, weights: Mapping[str, Tensor] | None) -> Parts:
    """The parts of DeepLabV3+.

    Parameters
    ----------
    config
        Encoder and output stride.
    classes
        K.
    weights
        Of the encoder, in the layout of timm, which for ResNets is torchvision's; None leaves them
        random.

    Raises
    ------
    UserError
        Unknown encoder, one without a pyramid of features, weights that do not fit.
    """
    name = config.encoder_name
    model = _create(name, config.output_stride, classes)
    encoder, decoder = model.encoder, model.decoder
    if weights is not None:
        load_state(encoder.model, _flattened(weights, encoder.model), name, flag="--encoder")
    # as in the last upsampling of all: with aligned corners, what a cell shows would move by up to
    # half a cell with the size of the image, and a network that is trained on crops sees others
    decoder.up = nn.Upsample(
        scale_factor=decoder.up.scale_factor, mode="bilinear", align_corners=False
    )
    return Parts(
        encoder=encoder,
        head=nn.Sequential(decoder, model.segmentation_head[0]),
        stages=[each for each in encoder.model.children() if list(each.parameters())],
        stride=config.output_stride,
        cell=_CELL,
        statistics=pixel_statistics(_pretrained_cfg(name)),
    )


def _create(name: str, output_stride: int, classes: int) -> Any:
    require_model(name)
    try:
        return smp.DeepLabV3Plus(
            f"tu-{name}",
            encoder_weights=None,
            encoder_output_stride=output_stride,
            decoder_aspp_separable=False,
            classes=classes,
            upsampling=1,
        )
    except _REFUSALS as error:
        raise UserError(
            f"{name} gives no maps of features at several sizes with --output-stride "
            f"{output_stride}; choose a resnet*, or --network vit-decoder for a ViT"
        ) from error


def _flattened(weights: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Names as in a pyramid, which joins those of the outermost modules: `stages_0` for `stages.0`.

    Models without such names are left as they are.
    """
    state = dict(weights)
    for name, _ in model.named_children():
        inner = name.replace("_", ".") + "."
        for key in [key for key in state if key.startswith(inner)]:
            state[name + "." + key.removeprefix(inner)] = state.pop(key)
    return state


def _pretrained_cfg(name: str) -> dict[str, Any]:
    found = timm.get_pretrained_cfg(name, allow_unregistered=True)
    mean, std = IMAGENET
    return {"mean": mean, "std": std} if found is None else {"mean": found.mean, "std": found.std}
