"""Prototypes applied to images: scores of classes in place of features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones import Backbone, mirrored


class ClassScores:
    """A backbone whose features are the scores of classes (PriMaPs, section 3.3).

    Parameters
    ----------
    backbone
        The one whose features the prototypes were fitted to.
    head
        (K, C) float32 prototypes.
    mirror
        Whether features are the mean of those of the image and, turned back, of its mirror image.
    """

    def __init__(self, backbone: Backbone, head: NDArray[np.float32], mirror: bool) -> None:
        self.name = backbone.name
        self.patch_size = backbone.patch_size
        self._backbone = backbone
        self._head = torch.from_numpy(head.T.copy())
        self._mirror = mirror

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Scores of every patch.

        (B, 3, H, W) as of the backbone to (B, N, K) float32. The best class of a patch has 0, the
        others have less: what all have in common decides neither the best class of a pixel between
        the patches nor a softmax, and small differences keep their digits also in half precision.
        """
        features = self._backbone(images)
        if self._mirror:
            columns = images.shape[3] // self.patch_size
            other = self._backbone(mirrored(images)).unflatten(1, (-1, columns))
            features = (features + other.flip(2).flatten(1, 2)) / 2
        scores = features @ self._head.to(features.device)
        return scores - scores.amax(dim=-1, keepdim=True)
