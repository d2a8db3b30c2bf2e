"""Photographs laid over photographs with a known soft alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.draw import line_aa

PAIRS = (
    ("coffee", "chelsea"),
    ("chelsea", "rocket"),
    ("astronaut", "coffee"),
    ("rocket", "astronaut"),
)


@dataclass(frozen=True)
class Scene:
    """An image, what it is made of, and the hard mask of its foreground."""

    image: NDArray[np.uint8]
    foreground: NDArray[np.float64]
    background: NDArray[np.float64]
    alpha: NDArray[np.float64]

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.alpha > 0.5

    def over(self, color: NDArray[np.uint8]) -> NDArray[np.float64]:
        """What a perfect cut-out gives over a colour."""
        alpha = self.alpha[..., None]
        mixed: NDArray[np.float64] = alpha * self.foreground + (1 - alpha) * color
        return mixed


def scene(foreground: str, background: str, size: tuple[int, int], hair: bool) -> Scene:
    """A disc of one photograph, hairy or out of focus, over another."""
    front, back = _photograph(foreground, size), _photograph(background, size)
    alpha = _hairy(size) if hair else _disc(size)
    alpha = np.clip(ndimage.gaussian_filter(alpha, 0.7 if hair else size[0] / 96), 0, 1)
    image = alpha[..., None] * front + (1 - alpha[..., None]) * back
    return Scene(np.rint(image).astype(np.uint8), front, back, alpha)


def _photograph(name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    image = Image.fromarray(getattr(skimage.data, name)())
    return np.asarray(image.resize(size[::-1])).astype(np.float64)


def _disc(size: tuple[int, int]) -> NDArray[np.float64]:
    h, w = size
    y, x = np.mgrid[:h, :w]
    inside: NDArray[np.bool_] = ((y - h / 2) / (0.3 * h)) ** 2 + ((x - w / 2) / (0.28 * w)) ** 2 < 1
    return inside.astype(np.float64)


def _hairy(size: tuple[int, int]) -> NDArray[np.float64]:
    (h, w), rng = size, np.random.default_rng(0)
    alpha = _disc(size)
    for angle in rng.uniform(0, 2 * np.pi, 150):
        y, x = h / 2 + 0.285 * h * np.sin(angle), w / 2 + 0.266 * w * np.cos(angle)
        length, bent = rng.uniform(0.02 * h, 0.07 * h), angle + 0.5 * rng.normal()
        end = int(y + length * np.sin(bent)), int(x + length * np.cos(bent))
        rows, columns, values = line_aa(int(y), int(x), *end)
        alpha[rows, columns] = np.maximum(alpha[rows, columns], 0.9 * values)
    return alpha
