"""Batches of a stream: the same for any number of workers, and what the segment run has kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from specray.backbones import BackboneConfig, build_backbone
from specray.errors import UserError
from specray.pipelines.derived import SegmentRun, finished_run
from specray.pipelines.training.computed import ComputedFeatures
from specray.pipelines.training.index import index_of
from specray.pipelines.training.samples import KeptFeatures, Pair, draw
from specray.pipelines.training.stream import Lanes, TrainingStream
from specray.semantics.prototypes.em import Images
from specray.semantics.prototypes.pixels import NONE
from specray.sources import open_store
from specray.tables import read
from tests.pipelines.conftest import IMAGES
from tests.pipelines.photographs import HEIGHT, WIDTH

BATCH = 8


@pytest.fixture(scope="module")
def run(proposed: Path) -> SegmentRun:
    return finished_run(open_store(str(proposed)))


def stream(
    run: SegmentRun, rank: int = 0, workers: int = 1, batch: int = BATCH, pair: Pair | None = None
) -> TrainingStream:
    groups = index_of(run.store, [shard.name for shard in run.shards])
    lanes = Lanes(rank, workers, batch)
    return TrainingStream(run.store, groups, 3, lanes, pair or KeptFeatures(), 16, None)


def joined(parts: list[list[Images]]) -> list[torch.Tensor]:
    (size,) = {len(part) for part in parts}
    assert size == 1  # the photographs are of one size
    names = ("clean", "view", "proposals")
    return [
        torch.cat([getattr(part[0], name) for part in parts], dim=int(name == "proposals"))
        for name in names
    ]


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_workers_share_the_batches_of_one(run: SegmentRun, workers: int) -> None:
    alone = stream(run)
    together = [stream(run, rank, workers) for rank in range(workers)]
    for number in range(2 * alone.per_epoch + 1):
        whole = joined([alone.batch(number)])
        parts = joined([each.batch(number) for each in together])
        for one, other in zip(whole, parts, strict=True):
            assert torch.equal(one, other)
    for each in (alone, *together):
        each.close()


def test_a_batch_does_not_depend_on_those_before(run: SegmentRun) -> None:
    first, second = stream(run), stream(run)
    for number in range(5):
        first.batch(number)
    assert torch.equal(first.batch(5)[0].view, second.batch(5)[0].view)
    first.close()
    second.close()


def test_an_epoch_has_the_good_images_with_their_features_and_masks(run: SegmentRun) -> None:
    whole = stream(run, batch=1)
    assert whole.per_epoch == IMAGES
    rows = [row for row in read(run.store.uri).to_pylist() if row["error"] is None]
    seen, changed = [], 0
    for number in range(IMAGES):
        (images,) = whole.batch(number)
        for row in rows:
            turned = draw(3, 0, row["key"]).mirrored
            scale = np.float32(row["feature_scale"])
            kept = np.array(row["features"], np.float32).reshape(48, -1) * scale
            if turned:
                views = np.frombuffer(row["views"], "<f2").reshape(-1, 48, kept.shape[1])
                kept = views[0].astype(np.float32) * scale
            if np.array_equal(images.clean[0].numpy(), kept):
                seen.append(row["key"])
                changed += not np.array_equal(images.view[0].numpy(), kept)
                masks = [coco_mask.decode(s["rle"]) for s in row["segments"]]
                expected = np.full((HEIGHT, WIDTH), NONE)
                for value, mask in enumerate(masks):
                    expected[mask.astype(bool)] = value
                if turned:
                    expected = expected[:, ::-1]
                np.testing.assert_array_equal(images.proposals[0, 0].numpy(), expected)
                break
    assert sorted(seen) == sorted(row["key"] for row in rows)
    assert changed > IMAGES // 2  # a view may be hardly blurred
    whole.close()


def computed(run: SegmentRun) -> ComputedFeatures:
    backbone = build_backbone(BackboneConfig(backbone="descriptor"), None, "none", "cpu")
    images = open_store(run.configuration["input"])
    return ComputedFeatures(images, backbone, 3, "paper", 10**7, None)


def test_computed_features_are_those_that_were_kept(run: SegmentRun) -> None:
    kept, anew = stream(run), stream(run, pair=computed(run))
    for number in range(kept.per_epoch):
        one, other = joined([kept.batch(number)]), joined([anew.batch(number)])
        scale = float(one[0].abs().max())
        torch.testing.assert_close(one[0], other[0], rtol=0, atol=1e-3 * scale)
        assert torch.equal(one[2], other[2])
        assert not torch.equal(other[0], other[1])
    kept.close()
    anew.close()


def test_views_that_are_computed_are_new_in_every_epoch(run: SegmentRun) -> None:
    draws = {draw(3, epoch, "a/000.jpg").number for epoch in range(20)}
    assert len(draws) == 20
    turned = [draw(3, 0, f"{i}").mirrored for i in range(400)]
    assert 150 < sum(turned) < 250


def test_a_photograph_that_is_gone_ends_the_training_in_one_line(
    run: SegmentRun, tmp_path: Path
) -> None:
    backbone = build_backbone(BackboneConfig(backbone="descriptor"), None, "none", "cpu")
    pair = ComputedFeatures(open_store(str(tmp_path)), backbone, 3, "paper", 10**7, None)
    broken = stream(run, pair=pair)
    with pytest.raises(UserError, match="run specray segment again"):
        broken.batch(0)
    broken.close()
