"""Features that are computed while training, from the photographs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from specray.backbones import Backbone, apply_views, draw_view, mirrored
from specray.backbones.config import Jitter
from specray.errors import ImageError, UserError
from specray.pipelines.decoding import fetch
from specray.pipelines.revisiting import FETCH_THREADS
from specray.pipelines.training.samples import Draw, Sample
from specray.sources import Store, decode


class ComputedFeatures:
    """Decodes the photographs, draws a new view in every epoch, and runs the backbone on both.

    Parameters
    ----------
    images
        Where the photographs are.
    backbone
        Of the segment run; its patches are the cells of the grid.
    seed, jitter
        Of the views.
    max_pixels, image_size
        As in the segment run.
    """

    columns: Sequence[str] = ()

    def __init__(
        self,
        images: Store,
        backbone: Backbone,
        seed: int,
        jitter: Jitter,
        max_pixels: int,
        image_size: int | None,
    ) -> None:
        self._images = images
        self._backbone = backbone
        self._seed = seed
        self._jitter = jitter
        self._max_pixels = max_pixels
        self._image_size = image_size
        self._pool = ThreadPoolExecutor(FETCH_THREADS)

    def __call__(self, samples: Sequence[Sample], draws: Sequence[Draw]) -> tuple[Tensor, Tensor]:
        """Of images of one size: image by image on a CPU, as the segment pass has them."""
        pixels = list(self._pool.map(self._pixels, samples))
        views = [
            draw_view(self._seed, sample.key, drawn.number)
            for sample, drawn in zip(samples, draws, strict=True)
        ]
        clean, view = [], []
        for image, what, drawn in zip(pixels, views, draws, strict=True):
            turn = mirrored if drawn.mirrored else _as_it_is
            both = torch.cat([turn(image), turn(apply_views(image, [what], self._jitter))])
            features = self._backbone(both)
            clean.append(features[0])
            view.append(features[1])
        return torch.stack(clean).cpu(), torch.stack(view).cpu()

    def of_image(self, sample: Sample) -> Tensor:
        """(N, C) float32 of an image as it is."""
        return self._backbone(self._pixels(sample))[0].cpu()

    def _pixels(self, sample: Sample) -> Tensor:
        """(1, 3, H, W) float32, cropped to whole patches."""
        blob = fetch(self._images, sample.key)
        read = partial(decode, max_pixels=self._max_pixels, short_side=self._image_size)
        try:
            if isinstance(blob, ImageError):
                raise blob
            image = np.array(read(blob.data).pixels)
        except ImageError as error:
            raise UserError(
                f"cannot read {sample.key} of {self._images.uri} again ({error.message}); run "
                "specray segment again, then this command"
            ) from None
        height, width = sample.proposals.shape[1:]
        if image.shape[0] < height or image.shape[1] < width:
            raise UserError(
                f"{sample.key} of {self._images.uri} has changed since it was segmented; run "
                "specray segment again, then this command"
            )
        return torch.from_numpy(image[:height, :width]).permute(2, 0, 1)[None].float()


def _as_it_is(images: Tensor) -> Tensor:
    return images
