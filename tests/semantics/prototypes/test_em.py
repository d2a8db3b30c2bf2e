"""Steps of PriMaPs-EM: what they keep, and what they do not depend on."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from specray.semantics.prototypes.config import EMConfig
from specray.semantics.prototypes.em import Images, PrototypeEM
from specray.semantics.prototypes.momentum import momentum_decay
from specray.semantics.prototypes.pixels import NONE, mask_votes

CHANNELS, CLASSES = 16, 3


def images(seed: int, count: int = 4, grid: tuple[int, int] = (4, 5)) -> Images:
    """Noise with masks of some patches each."""
    random = torch.Generator().manual_seed(seed)
    clean, view = 5 * torch.randn(2, count, grid[0] * grid[1], CHANNELS, generator=random)
    masks = torch.randint(0, 4, (count, 8 * grid[0], 8 * grid[1]), generator=random)
    return Images(grid, clean, view, torch.where(masks == 3, NONE, masks).to(torch.uint8)[None])


def trainer(runs: int = 1, **settings: object) -> PrototypeEM:
    config = EMConfig(CLASSES, **settings)  # type: ignore[arg-type]
    start = torch.randn(runs, CLASSES, CHANNELS, generator=torch.Generator().manual_seed(9))
    return PrototypeEM(start, config)


def some(batch: Images, which: slice) -> Images:
    return Images(batch.grid, batch.clean[which], batch.view[which], batch.proposals[:, which])


@pytest.mark.parametrize("weighting", ["proposals", "pixels"])
@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_same_prototypes(weighting: str, parts: int) -> None:
    whole, divided = trainer(weighting=weighting), trainer(weighting=weighting)
    for number in range(15):
        batch = images(number)
        whole.step([batch])
        divided.step([some(batch, slice(i, None, parts)) for i in range(parts)])
    torch.testing.assert_close(whole.vectors, divided.vectors, rtol=0, atol=1e-6)
    torch.testing.assert_close(whole.momentum_gains, divided.momentum_gains, rtol=0, atol=1e-6)


def test_images_of_several_sizes_make_one_batch() -> None:
    both = trainer()
    step = both.step([images(0), images(1, grid=(6, 3))])
    assert step.loss.isfinite().all()
    torch.testing.assert_close(step.shares.sum(dim=1), torch.ones(1, dtype=torch.float64))


def test_runs_that_are_packed_do_what_they_do_alone() -> None:
    packed = trainer(runs=3)
    alone = trainer(runs=3)
    single = PrototypeEM(alone.vectors[1:2].clone(), alone.config)
    for number in range(12):
        packed.step([images(number)])
        single.step([images(number)])
    torch.testing.assert_close(packed.vectors[1:2], single.vectors, rtol=0, atol=1e-9)
    torch.testing.assert_close(packed.momentum_vectors[1:2], single.momentum_vectors)


def test_every_run_is_fitted_to_its_own_set_of_proposals() -> None:
    one, other = images(3), images(4).proposals
    both = dataclasses.replace(one, proposals=torch.cat([one.proposals, other]))
    config = EMConfig(CLASSES)
    start = torch.randn(2, CLASSES, CHANNELS, generator=torch.Generator().manual_seed(9))
    packed = PrototypeEM(start, config, sets=[1, 0])
    alone = [PrototypeEM(start[run : run + 1], config) for run in range(2)]
    for _ in range(12):
        packed.step([both])
        alone[0].step([dataclasses.replace(one, proposals=other)])
        alone[1].step([one])
    for run, single in enumerate(alone):
        torch.testing.assert_close(packed.vectors[run], single.vectors[0], rtol=0, atol=1e-9)
    assert not torch.allclose(packed.vectors[0], alone[1].vectors[0])


def test_after_kmeans_alone_both_heads_are_its_prototypes() -> None:
    fitted = trainer()
    for number in range(3):
        fitted.kmeans_step([images(number).clean.flatten(0, 1)])
    assert torch.equal(fitted.momentum_vectors, fitted.vectors)


def test_the_loss_of_equal_scores_is_known() -> None:
    config = EMConfig(CLASSES, weighting="pixels")
    fitted = PrototypeEM(torch.eye(CHANNELS)[None, :CLASSES], config)
    batch = images(0)
    flat = Images(batch.grid, batch.clean, torch.zeros_like(batch.view), batch.proposals)
    valid = float((batch.proposals != NONE).float().mean())
    step = fitted.step([flat])
    expected = (1 - 1 / CLASSES) ** 2 * math.log(CLASSES) * valid
    assert float(step.loss) == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(step.shares, torch.full_like(step.shares, 1 / CLASSES))


def test_without_masks_nothing_is_learnt() -> None:
    fitted = trainer()
    before = fitted.vectors.clone()
    batch = images(0)
    empty = Images(batch.grid, batch.clean, batch.view, torch.full_like(batch.proposals, NONE))
    step = fitted.step([empty])
    assert float(step.loss) == 0
    torch.testing.assert_close(fitted.vectors, before, rtol=0, atol=0)


def test_a_step_is_one_of_adam_on_the_loss_with_its_weights_held() -> None:
    fitted, batch = trainer(weighting="pixels"), images(3)
    state = fitted.state_dict()
    gains = torch.tensor([[1.3, 0.7, 1.0]], dtype=torch.float64)
    fitted.load_state_dict(state | {"gains": gains, "momentum_gains": gains})
    vectors, gains = fitted.vectors.clone().requires_grad_(), gains.requires_grad_()
    shares = fitted.step([batch]).shares[0]

    head = F.normalize(vectors[0], dim=-1) * gains[0, :, None]
    clean, view = (
        (features.double() @ head.T).mT.unflatten(-1, batch.grid)
        for features in (batch.clean, batch.view)
    )
    size, masks = batch.size, batch.proposals[0].long()
    votes = mask_votes(clean.detach().float(), batch.proposals[0], 3)
    targets = votes.argmax(-1).gather(1, masks.clamp_max(2).flatten(1)).view(masks.shape)
    targets = torch.where(masks == NONE, NONE, targets)
    logits = F.interpolate(view, size=size, mode="bilinear", align_corners=False)
    loss = F.cross_entropy(logits, targets, (1 - shares) ** 2, ignore_index=NONE, reduction="sum")
    (loss / masks.numel()).backward()
    torch.optim.Adam([vectors, gains], fitted.config.learning_rate).step()
    torch.testing.assert_close(fitted.vectors, vectors.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(fitted.gains, gains.detach(), rtol=0, atol=1e-5)


def test_momentum_follows_every_tenth_step_and_never_the_first() -> None:
    fitted, changed = trainer(), []
    for number in range(31):
        before = fitted.momentum_vectors.clone()
        fitted.step([images(number)])
        if not torch.equal(before, fitted.momentum_vectors):
            changed.append(number)
    assert changed == [10, 20, 30]
    assert fitted.updates == 3


def test_momentum_warms_up_as_published() -> None:
    decays = [round(momentum_decay(n, 0.98), 4) for n in (1, 2, 3, 4, 5, 48, 50, 60)]
    assert decays == [0, 0, 0.6667, 0.75, 0.8, 0.9792, 0.98, 0.98]


def test_lengths_of_the_prototypes_do_not_matter() -> None:
    start = torch.randn(1, CLASSES, CHANNELS, generator=torch.Generator().manual_seed(1))
    one, other = (PrototypeEM(scale * start, EMConfig(CLASSES)) for scale in (1.0, 50.0))
    for fitted in (one, other):
        fitted.step([images(0)])
    torch.testing.assert_close(one.vectors, other.vectors)


def planted(count: int = 6) -> Images:
    """Images of three stripes, each of a direction of its own, which are the masks."""
    grid = (3, 6)
    stripe = torch.arange(18) % 6 // 2
    features = 20 * F.one_hot(stripe, CHANNELS).float().expand(count, -1, -1)
    masks = stripe.view(grid).repeat_interleave(8, 0).repeat_interleave(8, 1)
    return Images(grid, features, features, masks.to(torch.uint8).expand(1, count, -1, -1))


def test_labels_that_are_right_stay_right() -> None:
    fitted = PrototypeEM(torch.eye(CHANNELS)[None, :CLASSES], EMConfig(CLASSES))
    for _ in range(40):
        fitted.step([planted()])
    batch = planted(1)
    for vectors, gains in (
        (fitted.vectors, fitted.gains),
        (fitted.momentum_vectors, fitted.momentum_gains),
    ):
        head = F.normalize(vectors, dim=-1) * gains[..., None]
        best = (batch.clean.double() @ head[0].T).argmax(-1)[0]
        assert best.tolist() == (torch.arange(18) % 6 // 2).tolist()


@pytest.mark.parametrize("kmeans", [False, True])
def test_a_state_that_is_loaded_goes_on_bit_by_bit(kmeans: bool) -> None:
    def step(fitted: PrototypeEM, number: int) -> None:
        if kmeans:
            fitted.kmeans_step([images(number).clean.flatten(0, 1)])
        else:
            fitted.step([images(number)])

    whole, first = trainer(runs=2), trainer(runs=2)
    for number in range(25):
        step(whole, number)
    for number in range(13):
        step(first, number)
    second = trainer(runs=2)
    second.load_state_dict(first.state_dict())
    for number in range(13, 25):
        step(second, number)
    assert torch.equal(whole.vectors, second.vectors)
    assert torch.equal(whole.momentum_vectors, second.momentum_vectors)
    assert torch.equal(whole.gains, second.gains)


def parts(features: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(features.split(50))


def test_lloyd_never_makes_the_objective_smaller_and_finds_planted_directions() -> None:
    random = torch.Generator().manual_seed(4)
    directions = F.normalize(torch.randn(CLASSES, CHANNELS, generator=random), dim=-1)
    member = torch.randint(0, CLASSES, (600,), generator=random)
    features = 9 * directions[member] + torch.randn(600, CHANNELS, generator=random)
    starts = features[: 10 * CLASSES].view(10, CLASSES, CHANNELS)
    fitted = PrototypeEM(starts, EMConfig(CLASSES))
    losses = torch.stack(
        [fitted.lloyd_step(fitted.assigned(parts(features))).loss for _ in range(20)]
    )
    assert (losses.diff(dim=0) <= 1e-12).all()
    best = fitted.vectors[losses[-1].argmin()]
    cosine = F.normalize(best, dim=-1).float() @ directions.T
    assert (cosine.amax(dim=0) > 0.99).all()


def test_kmeans_by_adam_descends_the_gradient_of_autograd() -> None:
    from specray.semantics.prototypes import cosine_kmeans

    features = torch.randn(200, CHANNELS, generator=torch.Generator().manual_seed(5))
    prototypes = torch.randn(
        1, CLASSES, CHANNELS, dtype=torch.float64, generator=torch.Generator().manual_seed(6)
    )
    found = cosine_kmeans.assign(features, prototypes)
    leaf = prototypes.clone().requires_grad_()
    cosines = F.normalize(features.double(), dim=-1) @ F.normalize(leaf[0], dim=-1).T
    loss = -cosines.amax(dim=1).mean()
    (expected,) = torch.autograd.grad(loss, leaf)
    mine = cosine_kmeans.gradient(found, prototypes)
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-7)
    assert float(-found.cosine / 200) == pytest.approx(float(loss.detach()), rel=1e-6)
