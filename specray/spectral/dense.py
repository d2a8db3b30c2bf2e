"""The exact, slow way to the eigenpairs, for graphs that are tiny or that the iteration gave up."""

from __future__ import annotations

import torch
from torch import Tensor

from specray.spectral.laplacian import NormalizedAffinity


def dense_eigenpairs(operator: NormalizedAffinity, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """The algebraically largest eigenpairs of the deflated ``S``, by dense float64 ``eigh``.

    Values, vectors and residuals as of `specray.spectral.subspace.leading_eigenpairs`; at most
    ``N - 1`` pairs.
    """
    wanted = min(wanted, operator.affinity.shape[-1] - 1)
    matrix = operator.dense()
    trivial = operator.trivial.double()
    # The spectrum lies in [-1, 1]. Sending the trivial vector below it leaves the others on top,
    # also those that share its eigenvalue because the graph has several components.
    ascending, columns = torch.linalg.eigh(matrix - 3 * trivial.mT @ trivial)
    values = ascending.flip(-1)[:, :wanted]
    vectors = columns.flip(-1)[..., :wanted].mT.contiguous()
    error = vectors @ matrix - values[..., None] * vectors
    # a single patch has no pair beside the trivial one
    residuals = torch.nn.functional.pad(error.norm(dim=-1), (1, 0)).amax(dim=-1)
    return values.float(), vectors.float(), residuals.float()
