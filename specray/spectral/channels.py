"""Which channels of the patch features to keep (SpecUnIIS, Arefi et al. 2024).

Noise channel reduction (NCR) keeps the channels whose histogram over the patches of the image has
the least entropy; deviation-based channel reduction (DCR) keeps those that vary most. Both choose
anew for every image.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

EmptyBins = Literal["nothing", "last"]
"""What an empty bin does to the entropy of its channel: it adds nothing, or makes it infinite."""

NoiseRule = Literal["filled", "peaked"]
"""Which of the two published variants of NCR: see `low_entropy_channels`."""


def channel_entropy(features: Tensor, bins: int = 30, empty_bins: EmptyBins = "nothing") -> Tensor:
    """Entropy of every channel's histogram over the patches of its image.

    Parameters
    ----------
    features : Tensor
        ``(B, N, C)``, finite; binned in float32.
    bins : int
        Equal bins between the channel's least and largest value: the counts are those of
        `numpy.histogram`.
    empty_bins : {"nothing", "last"}
        "nothing": an empty bin adds 0, as ``p log p`` does in the limit. "last": a channel with an
        empty bin has infinite entropy.

    Returns
    -------
    Tensor
        ``(B, C)`` float64, bits: 0 for a constant channel, at most ``log2(bins)`` where finite.

    Raises
    ------
    ValueError
        If a feature is NaN or infinite.

    Examples
    --------
    >>> channel_entropy(torch.tensor([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 9.0]]]), bins=4)
    tensor([[2.0000, 0.8113]], dtype=torch.float64)
    """
    counts = _histograms(features.float(), bins)
    share = counts.double() / features.shape[1]
    entropy: Tensor = torch.special.entr(share).sum(dim=-1) / math.log(2)
    if empty_bins == "last":
        entropy = entropy.masked_fill((counts == 0).any(dim=-1), math.inf)
    return entropy


def low_entropy_channels(features: Tensor, keep: int, rule: NoiseRule) -> Tensor:
    """The channels of least entropy (NCR), in one of the two ways of the paper's released code.

    ======== ======================== =============================== ==============================
    rule     histogram of             a channel with an empty bin     published for
    ======== ======================== =============================== ==============================
    "filled" rows of unit length      comes last (entropy set to 5)   foreground (``bestent``)
    "peaked" features as they are     stays: the bin adds nothing     instances (``torchentropy``)
    ======== ======================== =============================== ==============================

    Both have 30 bins. "filled" therefore keeps compact channels without outliers, "peaked" begins
    with the heavy-tailed ones; the paper describes one selection for both uses. Its code divides
    counts by ``N C`` instead of ``N`` and, for "peaked", adds 1e-6 to them: neither changes the
    order. Normalising rows after the choice (published for "peaked" alone) is left to the caller.

    Parameters
    ----------
    features : Tensor
        ``(B, N, C)``, finite.
    keep : int
        Channels to keep, 1 to ``C``; the paper's is a third of them.
    rule : {"filled", "peaked"}
        See above.

    Returns
    -------
    Tensor
        ``(B, keep)`` int64 by ascending entropy; of equal ones the first channel comes first.

    Raises
    ------
    ValueError
        If there are not ``keep`` channels, or a feature is NaN or infinite.
    """
    if rule == "filled":
        unit = F.normalize(features.float(), dim=-1)
        entropy = channel_entropy(unit, empty_bins="last")
    else:
        entropy = channel_entropy(features)
    return _first(entropy, keep, descending=False)


def channel_deviation(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Standard deviation of every channel over the patches of its image, unbiased.

    Parameters
    ----------
    features : Tensor
        ``(B, N, C)``.
    mask : Tensor, optional
        ``(B, N)`` bool: the patches that count. All of them do by default, as published, which
        measures the contrast of foreground and background more than that between instances.

    Returns
    -------
    Tensor
        ``(B, C)`` float64; 0 where fewer than two patches count.
    """
    rows = features.double()
    counted = torch.ones_like(rows[..., :1]) if mask is None else mask[..., None].double()
    patches = counted.sum(dim=1, keepdim=True)
    mean = (rows * counted).sum(dim=1, keepdim=True) / patches.clamp_min(1)
    squares = ((rows - mean).square() * counted).sum(dim=1)
    return (squares / (patches[:, 0] - 1).clamp_min(1)).sqrt()


def high_deviation_channels(features: Tensor, keep: int, mask: Tensor | None = None) -> Tensor:
    """The channels that vary most (DCR).

    Parameters
    ----------
    features : Tensor
        ``(B, N, C)``; published after NCR, with rows of unit length.
    keep : int
        Channels to keep, 1 to ``C``; the paper's are 60 of 128.
    mask : Tensor, optional
        ``(B, N)`` bool, as of `channel_deviation`.

    Returns
    -------
    Tensor
        ``(B, keep)`` int64 by descending deviation; of equal ones the first channel comes first.

    Raises
    ------
    ValueError
        If there are not ``keep`` channels.
    """
    return _first(channel_deviation(features, mask), keep, descending=True)


def take_channels(features: Tensor, channels: Tensor) -> Tensor:
    """The chosen channels of every image, in the order of the choice.

    Parameters
    ----------
    features : Tensor
        ``(B, N, C)``.
    channels : Tensor
        ``(B, M)`` int64.

    Returns
    -------
    Tensor
        ``(B, N, M)``.
    """
    return features.gather(2, channels[:, None].expand(-1, features.shape[1], -1))


def _first(ranks: Tensor, keep: int, *, descending: bool) -> Tensor:
    channels = ranks.shape[-1]
    if not 1 <= keep <= channels:
        raise ValueError(f"cannot keep {keep} of {channels} channels")
    return ranks.argsort(dim=-1, descending=descending, stable=True)[:, :keep]


def _histograms(features: Tensor, bins: int) -> Tensor:
    """``(B, C, bins)`` int64 counts, step by step the arithmetic of `numpy.histogram`."""
    batch, _, channels = features.shape
    low, high = features.amin(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)
    constant = low == high
    low, high = torch.where(constant, low - 0.5, low), torch.where(constant, high + 0.5, high)
    width = high - low
    if not bool(width.isfinite().all()):
        raise ValueError("the features must be finite: some are NaN or infinite")
    # a constant too large for 0.5 to matter still has a width of 0
    index = features - low
    index.div_(width.clamp_min(torch.finfo(width.dtype).tiny)).mul_(bins).floor_()
    # Rounding may have put a value that lies on an edge on the wrong side of it. (In place: fresh
    # memory costs a CPU more time than the arithmetic.)
    step = width / bins
    edge = torch.mul(index, step).add_(low)
    index.sub_(edge.gt_(features))
    torch.add(index, 1, out=edge).mul_(step).add_(low)
    index.add_(edge.le_(features)).clamp_(max=bins - 1)  # the last bin has both of its edges
    first = bins * torch.arange(batch * channels, dtype=torch.int32, device=features.device)
    places = index.int().add_(first.view(batch, 1, channels))
    counts = torch.bincount(places.flatten(), minlength=first.numel() * bins)
    return counts.view(batch, channels, bins)
