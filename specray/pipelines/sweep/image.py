"""One image: one pass of the backbone, an eigenvector per graph, an object per combination."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray.backbones.taps import Tap, VitTaps
from specray.masks import object_labels
from specray.pipelines.sweep.combinations import Combination
from specray.pipelines.sweep.rules import corners_of, turned
from specray.spectral import SpectralConfig, decompose

_ON_GPU: Final = 16
"""Graphs that a GPU solves together. On a CPU each goes alone: together they are no faster, and
alone the last bit of a result cannot depend on the company."""

_Graph = tuple[float, bool]
"""Weight of colour, and whether the corners have features: what an eigenvector depends on, beside
the tap."""


class ObjectFinder:
    """Objects of an image by every combination.

    Objects take one eigenvector, the second smallest: how many there are is of no influence.

    Parameters
    ----------
    backbone
        Gives the features of all of their blocks.
    combinations
        In the order of the results.
    """

    def __init__(self, backbone: VitTaps, combinations: Sequence[Combination]) -> None:
        self._backbone = backbone
        self._combinations = combinations
        self._graphs: dict[_Graph, list[Tap]] = {}
        for each in combinations:
            taps = self._graphs.setdefault((each.color_lambda, each.corners == "zeroed"), [])
            if (each.block, each.feature) not in taps:
                taps.append((each.block, each.feature))

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
        """(C,) maps (h, w) of an image, as of `specray.masks.object_labels`.

        Parameters
        ----------
        pixels
            (H, W, 3) RGB, whole patches.
        """
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        patch = self._backbone.patch_size
        grid = (image.shape[2] // patch, image.shape[3] // patch)
        corners = corners_of(grid, self._backbone.native)
        kept = torch.zeros_like(corners)
        fiedler = self._fiedler(image, grid, corners)
        vectors = []
        for each in self._combinations:
            zeroed = each.corners == "zeroed"
            vector = fiedler[each.block, each.feature, each.color_lambda, zeroed]
            vectors.append(turned(vector, grid, each.sign, corners if zeroed else kept))
        # the room of masks wants eigenvectors from the constant one on
        return object_labels(torch.stack(vectors)[:, None].expand(-1, 2, -1), grid)

    def _fiedler(
        self, image: Tensor, grid: tuple[int, int], corners: Tensor
    ) -> dict[tuple[*Tap, *_Graph], Tensor]:
        """(N,) second eigenvectors of all graphs, on the CPU."""
        features = self._backbone(image)
        found = {}
        for (color_lambda, zeroed), taps in self._graphs.items():
            config = SpectralConfig(eigenvectors=2, color_lambda=color_lambda)
            for part in _parts(taps, features):
                stacked = torch.cat([features[tap] for tap in part])
                if zeroed:
                    stacked[:, corners.to(stacked.device)] = 0
                colours = None
                if color_lambda:
                    colours = image.to(stacked.device).expand(len(part), -1, -1, -1)
                pairs, _ = decompose(stacked, grid, self._backbone.patch_size, config, colours)
                # a single patch has no second eigenvector: its object is the whole image
                second = pairs.vectors.new_zeros(len(part), stacked.shape[1])
                if pairs.vectors.shape[1] > 1:
                    second = pairs.vectors[:, 1]
                for tap, vector in zip(part, second.cpu(), strict=True):
                    found[*tap, color_lambda, zeroed] = vector
        return found


def _parts(taps: Sequence[Tap], features: dict[Tap, Tensor]) -> Iterable[Sequence[Tap]]:
    """Taps whose graphs are solved together."""
    step = 1 if features[taps[0]].device.type == "cpu" else _ON_GPU
    return (taps[i : i + step] for i in range(0, len(taps), step))
