"""Closed-form alpha matting on the band of unknown pixels."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatting.laplacian.cf_laplacian import cf_laplacian
from pymatting.preconditioner.ichol import ichol
from pymatting.solver.cg import cg
from scipy import sparse

from specray.masks.matting.trimap import Trimap

Window = tuple[slice, slice]
"""Rows and columns of an image."""

_TOLERANCE = 1e-6
"""Residual relative to the right-hand side; alpha is within 0.01 of the exact solution."""

_ITERATIONS = 1000
"""Images need about ten."""

_FILL = 10
"""Entries of the incomplete factor per entry of the system, at most; images need up to 3.3. By
default pymatting reserves 4 GB, which a process of limited memory does not get."""


class NotConverged(Exception):
    """The linear system of the matte was not solved."""


def closed_form_alpha(
    image: NDArray[np.float64], trimap: Trimap, mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Alpha of an image by closed-form matting, with a mask as prior.

    Minimises ``alpha' L alpha + sum of trust (alpha - mask)^2`` over the unknown pixels, L being
    the matting Laplacian. Without trust it is pymatting's ``estimate_alpha_cf``, at the price of
    the band alone: no window of L reaches more than two pixels beyond an unknown one.

    Parameters
    ----------
    image
        (H, W, 3) in [0, 1].
    trimap
        Of the mask.
    mask
        (H, W)

    Returns
    -------
    (H, W) in [0, 1], equal to the trimap where that is known.

    Raises
    ------
    NotConverged
        The solver gave up.

    References
    ----------
    A. Levin, D. Lischinski, Y. Weiss, "A closed-form solution to natural image matting", PAMI
    2008. T. Germer et al., "PyMatting: a Python library for alpha matting", JOSS 2020.
    """
    alpha = trimap.values.copy()
    window = bounding_window(trimap.unknown, margin=2)
    if window is None:
        return alpha
    unknown, prior = trimap.unknown[window], mask[window]
    if min(unknown.shape) < 3:  # no window of 3 x 3 pixels fits
        alpha[window] = prior
        return alpha
    free, trust = unknown.ravel(), trimap.trust[window][unknown]
    laplacian = cf_laplacian(np.ascontiguousarray(image[window]), is_known=~unknown)[free]
    system = (laplacian[:, free] + sparse.diags(trust)).tocsr()
    right = trust * prior[unknown] - laplacian[:, ~free].dot(alpha[window].ravel()[~free])
    system.eliminate_zeros()
    try:
        solved = cg(system, right, rtol=_TOLERANCE, maxiter=_ITERATIONS, M=_factor(system))
    except ValueError as error:  # of the factorisation or of the iteration
        raise NotConverged(str(error)) from None
    if not np.isfinite(solved).all():
        raise NotConverged("the solution is not finite")
    alpha[window][unknown] = np.clip(solved, 0, 1)
    return alpha


def _factor(system: sparse.csr_matrix) -> Any:
    """The preconditioner of a system, without the warnings that pymatting prints."""
    with redirect_stdout(io.StringIO()):  # the last line there is the result of the job
        return ichol(system, max_nnz=_FILL * system.nnz)


def bounding_window(mask: NDArray[np.bool_], margin: int) -> Window | None:
    """The smallest window around a mask, with a margin inside the image; None if it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )
