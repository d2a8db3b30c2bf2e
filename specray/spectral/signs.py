"""The sign rule: the positive side of an eigenvector is the smaller one (DSM section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def orient(vectors: Tensor) -> Tensor:
    """Flip every eigenvector that is positive on more than half, but not all, of the patches.

    An object is smaller than its background, so it ends up on the positive side. Exactly half, or
    all patches positive, stays as it is. Applying the rule twice changes nothing.

    Parameters
    ----------
    vectors : Tensor
        ``(..., N)``, one eigenvector per row.

    Returns
    -------
    Tensor
        Same shape and dtype.

    Examples
    --------
    >>> orient(torch.tensor([[3.0, 2.0, -1.0], [3.0, -2.0, -1.0]]))
    tensor([[-3., -2.,  1.],
            [ 3., -2., -1.]])
    """
    patches = vectors.shape[-1]
    positive = (vectors > 0).sum(dim=-1, keepdim=True)
    flip = (2 * positive > patches) & (positive < patches)
    return torch.where(flip, -vectors, vectors)
