"""A trained segmenter in place of a backbone: scores of classes for features."""

from __future__ import annotations

import torch
from torch import Tensor

from specray.semantics.segmenter.networks import SegmentationNetwork
from specray.semantics.segmenter.predicting import windowed_logits


class SegmenterScores:
    """A backbone whose features are the scores of classes; as `ClassScores` of prototypes.

    Parameters
    ----------
    network
        In evaluation mode, on the device where it shall run.
    name
        Of what it is, for records.
    window
        Pixels of a side of the windows, as of `windowed_logits`; None takes images whole.
    """

    def __init__(self, network: SegmentationNetwork, name: str, window: int | None = None) -> None:
        self.name = name
        self.patch_size = network.cell
        self._network = network.eval()
        self._window = window

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Scores of every cell.

        (B, 3, H, W), H and W multiples of `patch_size`, to (B, N, K) float32. The best class of a
        cell has 0, the others less, as with `ClassScores`.
        """
        rows, columns = (side // self.patch_size for side in images.shape[-2:])
        # image by image: the scores of an image do not depend on the company
        logits = torch.cat([self._logits(image[None]) for image in images]).float()
        scores = logits[..., :rows, :columns].flatten(2).mT
        return scores - scores.amax(dim=-1, keepdim=True)

    def _logits(self, image: Tensor) -> Tensor:
        if self._window is None:
            return self._network.grid_logits(image)
        return windowed_logits(self._network, image, self._window)
