"""Steps of self-training: what they do, and what they do not depend on."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from specray.semantics.prototypes.em import Sum
from specray.semantics.segmenter.config import Network, Norm, SegmenterConfig
from specray.semantics.segmenter.trainer import SegmenterTrainer, Step
from tests.semantics.segmenter.cases import NETWORKS, batch, small
from tests.semantics.segmenter.workers import together

CONFIG = SegmenterConfig(steps=20, batch=8, learning_rate=1e-3)


def trainer(
    network: Network = "vit-linear", norm: Norm = "group", config: SegmenterConfig = CONFIG
) -> SegmenterTrainer:
    return SegmenterTrainer(small(network, norm), config)


def exact(network: Network = "vit-linear", config: SegmenterConfig = CONFIG) -> SegmenterTrainer:
    """In float64: Adam makes whole steps of slopes that are no more than rounding errors."""
    return SegmenterTrainer(small(network).double(), config)


def parameters(fitted: SegmenterTrainer) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in fitted.network.named_parameters()}


def test_a_step_is_one_of_adamw_on_the_mean_over_the_pixels_that_count() -> None:
    fitted, reference = exact("vit-decoder"), small("vit-decoder").double()
    images, labels, seeds = batch(4)
    fitted.step(images, labels, seeds)
    leaves = [each for each in reference.parameters() if each.requires_grad]
    loss = cross_entropy(reference.train()(images, seeds), labels.long(), ignore_index=255)
    loss.backward()
    torch.optim.AdamW(leaves, lr=1e-3, weight_decay=1e-8).step()
    expected = dict(reference.named_parameters())
    for name, each in parameters(fitted).items():
        torch.testing.assert_close(each, expected[name].detach(), rtol=0, atol=1e-9)


def test_the_step_says_loss_and_accuracy_of_the_batch() -> None:
    fitted, reference = trainer(), small("vit-linear").train()
    images, labels, seeds = batch(4)
    step = fitted.step(images, labels, seeds)
    with torch.no_grad():
        logits = reference(images, seeds)
    valid = labels != 255
    expected = cross_entropy(logits, labels.long(), ignore_index=255)
    assert step.loss == pytest.approx(float(expected), rel=1e-5)
    assert step.accuracy == pytest.approx(float((logits.argmax(1) == labels)[valid].float().mean()))
    assert step.pixels == int(valid.sum())


@pytest.mark.parametrize(
    ("network", "norm", "accumulate"),
    [
        ("deeplab", "group", 1),
        ("vit-decoder", "group", 2),
        ("deeplab", "batch", 1),
        ("vit-decoder", "batch", 2),
    ],
)
def test_the_number_of_workers_changes_nothing(
    network: Network, norm: Norm, accumulate: int
) -> None:
    config = replace(CONFIG, accumulate=accumulate)
    steps = 3

    def results(workers: int) -> tuple[Tensor, list[Step]]:
        networks = [small(network, norm).double() for _ in range(workers)]

        def work(rank: int, add_up: Sum) -> tuple[Tensor, list[Step]]:
            fitted = SegmenterTrainer(networks[rank], config, add_up if workers > 1 else None)
            share = 8 // workers
            own = slice(rank * share, (rank + 1) * share)
            told = []
            for number in range(steps):
                images, labels, seeds = batch(8, number)
                told.append(fitted.step(images[own], labels[own], seeds[own]))
            images, _, _ = batch(4, 100)
            with torch.inference_mode():
                return fitted.network.eval()(images), told

        found = together(workers, work)
        for logits, told in found[1:]:  # all workers have the same network
            assert torch.equal(logits, found[0][0]) and told == found[0][1]
        return found[0]

    expected, steps_of_one = results(1)
    untrained = small(network, norm).double()
    assert float((untrained(batch(4, 100)[0]) - expected).detach().abs().max()) > 0.01
    for workers in (2, 4):
        logits, steps_of_many = results(workers)
        torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
        for one, many in zip(steps_of_one, steps_of_many, strict=True):
            assert many.loss == pytest.approx(one.loss, rel=1e-5)
            assert many.pixels == one.pixels


@pytest.mark.parametrize("parts", [2, 3, 8, 20])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts: int) -> None:
    whole, divided = exact(), exact(config=replace(CONFIG, accumulate=parts))
    for number in range(3):
        losses = [each.step(*batch(8, number)).loss for each in (whole, divided)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    found = parameters(divided)
    for name, each in parameters(whole).items():
        torch.testing.assert_close(found[name], each, rtol=0, atol=1e-9)


def test_parts_of_different_size_are_refused_where_a_part_has_statistics() -> None:
    fitted = trainer("deeplab", "batch", replace(CONFIG, accumulate=3))
    with pytest.raises(ValueError, match="--accumulate 3 does not divide the 8 images"):
        fitted.step(*batch(8))


@pytest.mark.parametrize(("network", "norm"), [("deeplab", "batch"), ("vit-decoder", "group")])
def test_a_state_that_is_stored_and_loaded_goes_on_bit_by_bit(network: Network, norm: Norm) -> None:
    whole, first = trainer(network, norm), trainer(network, norm)
    for number in range(6):
        whole.step(*batch(4, number))
    for number in range(3):
        first.step(*batch(4, number))
    state, buffer = first.state_dict(), io.BytesIO()
    first.step(*batch(4, 3))  # what goes on does not change what is to be stored
    torch.save(state, buffer)
    state = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    second = trainer(network, norm)
    second.load_state_dict(state)
    for number in range(3, 6):
        second.step(*batch(4, number))
    expected = whole.network.state_dict()
    found = second.network.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_state_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="another network"):
        trainer("vit-linear").load_state_dict(trainer("vit-decoder").state_dict())


def test_learning_rates_fall_linearly_to_nothing_without_a_warm_up() -> None:
    config = SegmenterConfig(steps=4, learning_rate=1e-3, encoder_rate=0.1)
    fitted, rates = trainer(config=config), []
    for number in range(4):
        fitted.step(*batch(2, number))
        rates.append({group["name"]: group["lr"] for group in fitted.optimiser.param_groups})
    assert [each["head"] for each in rates] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])
    assert [each["encoder"] for each in rates] == pytest.approx([1e-4, 7.5e-5, 5e-5, 2.5e-5])
    before = parameters(fitted)
    fitted.step(*batch(2, 4))
    after = parameters(fitted)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_optimiser_is_that_of_the_paper_and_holds_what_trains() -> None:
    fitted = SegmenterTrainer(small("vit-linear"), SegmenterConfig())
    assert type(fitted.optimiser) is torch.optim.AdamW
    names = {id(each): name for name, each in fitted.network.named_parameters()}
    held = {}
    for group in fitted.optimiser.param_groups:
        assert (group["betas"], group["weight_decay"]) == ((0.9, 0.999), 1e-8)
        assert group["lr"] == 2e-4
        held[group["name"]] = {names[id(each)] for each in group["params"]}
    assert held["head"] == {"head.classify.weight", "head.classify.bias"}
    last = ("encoder.model.blocks.11.", "encoder.model.norm.")
    expected = {name for name in names.values() if name.startswith(last)}
    assert held["encoder"] == expected and len(expected) > 10


@pytest.mark.parametrize("network", NETWORKS)
def test_only_what_trains_changes(network: Network) -> None:
    fitted = trainer(network)
    before = {name: each.clone() for name, each in fitted.network.state_dict().items()}
    fitted.step(*batch(2))
    after = fitted.network.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    trained = {name for name, each in fitted.network.named_parameters() if each.requires_grad}
    assert changed <= trained < set(before)
    assert len(changed) > 0.8 * len(trained)


def test_what_does_not_count_teaches_nothing() -> None:
    fitted = trainer()
    before = parameters(fitted)
    images, labels, seeds = batch(2)
    step = fitted.step(images, torch.full_like(labels, 255), seeds)
    assert (step.loss, step.pixels) == (0, 0)
    after = parameters(fitted)
    for name in before:  # but for a weight decay of 1e-8
        torch.testing.assert_close(after[name], before[name], rtol=1e-9, atol=1e-9)


def test_labels_below_the_least_confidence_are_as_if_ignored() -> None:
    images, labels, seeds = batch(2)
    confidence = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
    some = trainer(config=replace(CONFIG, min_confidence=0.5))
    other = trainer()
    found = some.step(images, labels, seeds, confidence)
    expected = other.step(images, torch.where(confidence < 0.5, 255, labels), seeds)
    assert found == expected and found.pixels < int((labels != 255).sum())


def test_classes_weigh_as_they_are_told() -> None:
    images, labels, seeds = batch(4)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    fitted = SegmenterTrainer(small("vit-linear"), CONFIG, class_weights=weights)
    with torch.no_grad():
        logits = small("vit-linear").train()(images, seeds)
    expected = cross_entropy(logits, labels.long(), weights, ignore_index=255)
    assert fitted.step(images, labels, seeds).loss == pytest.approx(float(expected), rel=1e-5)


def test_half_precision_descends_as_single_does() -> None:
    single = trainer("vit-decoder")
    half = trainer("vit-decoder", config=replace(CONFIG, precision="bf16"))
    for number in range(6):
        losses = [each.step(*batch(4, number)).loss for each in (single, half)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert all(each.dtype == torch.float32 for each in half.network.parameters())
