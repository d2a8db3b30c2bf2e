"""One step of PriMaPs-EM for several runs at once, on the images of one worker or of many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from specray.semantics.prototypes import cosine_kmeans
from specray.semantics.prototypes.config import EMConfig
from specray.semantics.prototypes.momentum import momentum_decay
from specray.semantics.prototypes.pixels import NONE, cross_entropy, mask_votes, softmax_sums

Sum = Callable[[Tensor], Tensor]
"""Adds a tensor up over all workers."""


@dataclass(frozen=True)
class Images:
    """Images of one size: what a worker has of them in a batch."""

    grid: tuple[int, int]
    """(h, w) in patches."""
    clean: Tensor
    """(B, N, C) float32 features, un-normalised, ``N == h * w``."""
    view: Tensor
    """(B, N, C) float32 features of a photometric view, of the same geometry."""
    proposals: Tensor
    """(S, B, H, W) uint8 masks of each set of proposals, `NONE` where there is none."""
    truth: Tensor | None = None
    """(B, H, W) uint8 true classes, `NONE` where they do not count; for diagnosis alone."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) pixels."""
        return self.proposals.shape[2], self.proposals.shape[3]

    @property
    def masks(self) -> int:
        """One more than the largest mask id of any set."""
        return int(torch.where(self.proposals == NONE, 0, self.proposals + 1).max())


class Step(NamedTuple):
    """What a batch said."""

    loss: Tensor
    """(R,) float64."""
    shares: Tensor
    """(R, K) float64 share of every class: of softmax in EM, of patches in k-means."""


class PrototypeEM:
    """Running and momentum prototypes of R runs with their optimiser.

    Everything is float64 but the work on single pixels, and every sum over images is one over the
    workers, too: so the result does not depend on how the images of a batch are divided.

    Parameters
    ----------
    initial
        (R, K, C) prototypes; their lengths do not matter.
    config
        How to fit.
    add_up
        Sums over workers; None where there is one.
    device
        Where the work on pixels happens.
    sets
        (R,) the set of proposals of every run; None: the first.
    """

    def __init__(
        self,
        initial: Tensor,
        config: EMConfig,
        add_up: Sum | None = None,
        device: torch.device | str = "cpu",
        sets: Sequence[int] | None = None,
    ) -> None:
        self.config = config
        self._sets = list(sets or [0] * len(initial))
        self._add_up = add_up or (lambda tensor: tensor)
        self._device = torch.device(device)
        # kept on the host: they are small, and Adam is then the same on any device
        self.vectors = F.normalize(initial.double().cpu(), dim=-1)
        self.begin_em()

    def begin_em(self) -> None:
        """Start EM from the vectors as they are: gains 1, momentum prototypes equal, new Adam."""
        self.gains = torch.ones(self.vectors.shape[:2], dtype=torch.float64)
        self.momentum_vectors, self.momentum_gains = self.vectors.clone(), self.gains.clone()
        self._optimiser = torch.optim.Adam([self.vectors, self.gains], self.config.learning_rate)
        self.steps = 0
        self.updates = 0

    def kmeans_step(self, features: Sequence[Tensor]) -> Step:
        """A step of cosine k-means by Adam on (N, C) features (PriMaPs section 3.1)."""
        found = self.assigned(features)
        self._descend(cosine_kmeans.gradient(found, self.vectors), torch.zeros_like(self.gains))
        return self._clustered(found)

    def lloyd_step(self, found: cosine_kmeans.Assigned) -> Step:
        """A step of Lloyd's k-means, from the statistics of all features."""
        self.vectors.copy_(cosine_kmeans.lloyd(found, self.vectors))
        return self._clustered(found)

    def _clustered(self, found: cosine_kmeans.Assigned) -> Step:
        self.momentum_vectors.copy_(self.vectors)  # k-means has no average
        patches = found.counts.sum(dim=-1)
        return Step(-found.cosine / patches, found.counts / patches[:, None])

    def assigned(self, features: Sequence[Tensor]) -> cosine_kmeans.Assigned:
        """Statistics of the (N, C) features of all workers."""
        vectors = self.vectors.to(self._device)
        parts = [cosine_kmeans.assign(each.to(self._device), vectors) for each in features]
        runs, classes, _ = self.vectors.shape
        flat = torch.zeros(runs, classes * (self.vectors.shape[2] + 1) + 1, dtype=torch.float64)
        for part in parts:
            columns = [part.sums.flatten(1), part.counts, part.cosine[:, None]]
            flat += torch.cat(columns, dim=1).cpu()
        flat = self._add_up(flat)
        sums, counts, cosine = flat.split([flat.shape[1] - classes - 1, classes, 1], dim=1)
        return cosine_kmeans.Assigned(sums.reshape(self.vectors.shape), counts, cosine.squeeze(1))

    def step(self, batch: Sequence[Images]) -> Step:
        """Vote with the momentum prototypes, descend with the running ones.

        Parameters
        ----------
        batch
            The images of this worker, by size.
        """
        teacher = heads(self.momentum_vectors, self.momentum_gains)
        student = heads(self.vectors, self.gains)
        votes = [self._votes(images, teacher) for images in batch]
        scores = [_scores(images.view, student, images.grid, self._device) for images in batch]
        shares, weight = self._shares(batch, votes, scores)
        focal = (1 - shares).clamp_min(0) ** self.config.focal
        loss, slopes = self._slopes(batch, votes, scores, focal)
        loss, slopes = loss / weight, slopes / weight[:, None, None]
        directions = F.normalize(self.vectors, dim=-1)
        of_gains = (slopes * directions).sum(dim=-1)
        self._descend(
            cosine_kmeans.tangential(self.gains[..., None] * slopes, self.vectors), of_gains
        )
        self._follow()
        return Step(loss, shares)

    def _votes(self, images: Images, teacher: Tensor) -> Tensor:
        """(R, B, M, K)."""
        scores = _scores(images.clean, teacher, images.grid, self._device)
        masks = images.proposals.to(self._device)
        pairs = zip(scores, self._sets, strict=True)
        return torch.stack([mask_votes(each, masks[which], images.masks) for each, which in pairs])

    def _shares(
        self, batch: Sequence[Images], votes: Sequence[Tensor], scores: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(R, K) mean softmax over all pixels of all workers; (R,) what the loss is divided by."""
        runs, classes, _ = self.vectors.shape
        sums = torch.zeros(runs, classes + 2, dtype=torch.float64)
        for images, voted, each in zip(batch, votes, scores, strict=True):
            for run in range(runs):
                sums[run, :classes] += softmax_sums(each[run], images.size).sum(dim=0).cpu()
            sums[:, classes] += images.proposals[0].numel()
            sums[:, classes + 1] += (voted.sum(dim=-1) > 0).sum(dim=(1, 2)).cpu()
        sums = self._add_up(sums)
        pixels, proposals = sums[:, classes], sums[:, classes + 1]
        weight = proposals if self.config.weighting == "proposals" else pixels
        return sums[:, :classes] / pixels[:, None], weight.clamp_min(1)

    def _slopes(
        self,
        batch: Sequence[Images],
        votes: Sequence[Tensor],
        scores: Sequence[Tensor],
        focal: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(R,) sums of the loss and (R, K, C) of its slope by gain times direction."""
        runs, classes, channels = self.vectors.shape
        flat = torch.zeros(runs, classes * channels + 1, dtype=torch.float64)
        for images, voted, each in zip(batch, votes, scores, strict=True):
            if not images.masks:
                continue
            masks = images.proposals.to(self._device)
            view = images.view.to(self._device)
            for run in range(runs):
                targets = voted[run].argmax(dim=-1)
                weights = focal[run].to(self._device)[targets]
                if self.config.weighting == "proposals":
                    weights = weights / voted[run].sum(dim=-1).clamp_min(1)
                own = masks[self._sets[run]]
                loss, slope = cross_entropy(each[run], own, targets, weights.float())
                # image by image: what is added up in float32 does not depend on the company
                of_head = torch.bmm(slope.flatten(2), view).double().sum(dim=0)
                flat[run, 0] += loss.sum().cpu()
                flat[run, 1:] += of_head.flatten().cpu()
        flat = self._add_up(flat)
        return flat[:, 0], flat[:, 1:].reshape(self.vectors.shape)

    def _descend(self, of_vectors: Tensor, of_gains: Tensor) -> None:
        self.vectors.grad, self.gains.grad = of_vectors, of_gains
        self._optimiser.step()
        self.vectors.grad = self.gains.grad = None

    def _follow(self) -> None:
        """Update the momentum prototypes where it is their turn, not after the first batch."""
        if self.steps and self.steps % self.config.momentum_every == 0:
            self.updates += 1
            decay = momentum_decay(self.updates, self.config.momentum)
            self.momentum_vectors.lerp_(self.vectors, 1 - decay)
            self.momentum_gains.lerp_(self.gains, 1 - decay)
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "vectors": self.vectors.clone(),
            "gains": self.gains.clone(),
            "momentum_vectors": self.momentum_vectors.clone(),
            "momentum_gains": self.momentum_gains.clone(),
            "optimiser": self._optimiser.state_dict(),
            "steps": self.steps,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was called, bit by bit."""
        for name in ("vectors", "gains", "momentum_vectors", "momentum_gains"):
            getattr(self, name).copy_(state[name])
        self._optimiser.load_state_dict(state["optimiser"])
        self.steps, self.updates = state["steps"], state["updates"]


def heads(vectors: Tensor, gains: Tensor) -> Tensor:
    """(R, K, C) float32 weights: directions of the vectors, as long as the gains say."""
    return (F.normalize(vectors, dim=-1) * gains[..., None]).float()


def _scores(features: Tensor, head: Tensor, grid: tuple[int, int], device: torch.device) -> Tensor:
    """(R, B, K, h, w)."""
    images = features.to(device)
    found = torch.stack(
        [torch.bmm(each.expand(len(images), -1, -1), images.mT) for each in head.to(device)]
    )
    scores: Tensor = found.unflatten(-1, grid)
    return scores
