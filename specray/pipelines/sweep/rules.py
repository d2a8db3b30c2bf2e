"""Which side of an eigenvector is the object, and what happens to the corners."""

from __future__ import annotations

import torch
from torch import Tensor

from specray.pipelines.sweep.combinations import Sign


def turned(vector: Tensor, grid: tuple[int, int], sign: Sign, corners: Tensor) -> Tensor:
    """An eigenvector whose positive side is the object.

    Parameters
    ----------
    vector
        (N,) after the rule of `specray.spectral.signs`, which decides where sides are equal.
    grid
        (h, w) with ``h * w == N``.
    sign
        What the object has less of: patches, or patches along the border.
    corners
        (N,) bool: patches that are background and do not count.

    Returns
    -------
    (N,); 0 in the corners.

    Examples
    --------
    The smaller side fills the border of a 3 x 5 grid, but for one patch:

    >>> border = torch.tensor([[1, 1, 1, 1, 1], [1, -1, -1, -1, 1], [1, 1, 1, 1, -1]]).flatten()
    >>> none = torch.zeros(15, dtype=torch.bool)
    >>> int((turned(-border, (3, 5), "border", none) > 0).sum())
    4
    """
    vector = vector.masked_fill(corners, 0)
    counted = ~corners if sign == "minority" else ~corners & border_of(grid)
    positive = vector > 0
    most = 2 * int(positive[counted].sum()) > int(counted.sum())
    return -vector if most and not bool(positive[~corners].all()) else vector


def border_of(grid: tuple[int, int]) -> Tensor:
    """(N,) bool: the cells along the border of a grid."""
    border = torch.ones(grid, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return border.flatten()


def corners_of(grid: tuple[int, int], native: tuple[int, int]) -> Tensor:
    """The cells in the corners of a grid that lie where the model has one patch of its own.

    Some ViTs give the patches in the corners features unlike all others. Position embeddings are
    stretched over larger images, and this with them.

    Parameters
    ----------
    grid
        (h, w) of the image.
    native
        (h, w) of the images that the model was made for.

    Returns
    -------
    (N,) bool.

    Examples
    --------
    >>> corners_of((4, 30), (14, 14)).reshape(4, 30).sum(dim=1)
    tensor([4, 0, 0, 4])
    """
    rows, columns = (max(1, round(n / of)) for n, of in zip(grid, native, strict=True))
    found = torch.zeros(grid, dtype=torch.bool)
    for y in (slice(None, rows), slice(-rows, None)):
        for x in (slice(None, columns), slice(-columns, None)):
            found[y, x] = True
    return found.flatten()
