"""What the CRF of PriMaPs starts from: proposals and background, blown up to pixels."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from specray.masks.geometry import ImageGeometry


def proposal_energies(
    labels: NDArray[np.int64], count: int, geometry: ImageGeometry
) -> NDArray[np.float32]:
    """Unary energies of no proposal, a label of its own, and of every proposal.

    PriMaPs takes the log-softmax of one-hot maps, resizes it bilinearly, and takes the logarithm of
    its softmax. Up to a constant of each pixel, which changes no marginal, this is the resized
    one-hot map itself: the label of a cell is better than any other one by exactly 1 nat.

    Parameters
    ----------
    labels
        (grid_h, grid_w) int64; cells of no proposal have -1.
    count
        Proposals, whether they occur or not.
    geometry
        Sizes of the image whose pixels are wanted, and of its grid. In what the grid does not
        cover, the cells beside it go on.

    Returns
    -------
    (1 + count, height, width) float32, from -1 to 0.
    """
    g = geometry
    rows = _shares(g.height, g.resized_height, g.grid_h, g.patch)
    columns = _shares(g.width, g.resized_width, g.grid_w, g.patch)
    one_hot = F.one_hot(torch.from_numpy(labels + 1), 1 + count).permute(2, 0, 1).float()
    energies: NDArray[np.float32] = -(rows @ (one_hot @ columns.mT)).numpy()
    return energies


def _shares(size: int, resized: int, cells: int, patch: int) -> Tensor:
    """(size, cells) weights of linear interpolation between the centres of the cells."""
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) * resized / size / patch - 0.5
    distances = (centres.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()
    return (1 - distances).clamp_min(0).float()
