"""Ground truth of images, for diagnosis alone: nothing of it reaches the prototypes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from specray.errors import ImageError, UserError
from specray.evaluation import LabelSpace
from specray.masks import ImageGeometry, seen_labels
from specray.sources import Store


@dataclass(frozen=True)
class TruthMaps:
    """Label maps of images, each a PNG whose name is the key of its image but for the suffix.

    Parameters
    ----------
    store
        Where they are.
    space
        Classes of their numbers.
    """

    store: Store
    space: LabelSpace

    def __call__(self, key: str, geometry: ImageGeometry) -> NDArray[np.uint8]:
        """The true class of every pixel that the backbone sees.

        Parameters
        ----------
        key, geometry
            Of the image.

        Returns
        -------
        (grid_h * patch, grid_w * patch) uint8; 255 where it does not count.

        Raises
        ------
        UserError
            There is no such file, it is no map of single numbers, or of another size.
        """
        name = str(PurePosixPath(key).with_suffix(".png"))
        labels = self._read(name)
        if labels.shape != (geometry.height, geometry.width):
            raise UserError(
                f"--truth: {name} has {labels.shape[1]} x {labels.shape[0]} pixels, its image "
                f"{geometry.width} x {geometry.height}"
            )
        return self.space(seen_labels(labels, geometry))

    def _read(self, name: str) -> NDArray[np.uint8]:
        try:
            data = self.store.read(name).data
        except ImageError as error:
            raise UserError(
                f"--truth: cannot read {name} in {self.store.uri}: {error.message}"
            ) from None
        try:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                numbers: NDArray[Any] = np.array(image)
        except (OSError, ValueError, Image.DecompressionBombError):
            raise UserError(f"--truth: {name} in {self.store.uri} is no PNG, or damaged") from None
        if numbers.ndim != 2 or numbers.dtype != np.uint8:
            raise UserError(f"--truth: {name} is no map of 8-bit numbers, such as a palette PNG")
        return numbers
