"""Where the work of a sweep is done: keys of images to what all combinations score on them."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from specray.backbones import BackboneConfig
from specray.backbones.taps import build_taps
from specray.datasets.base import Kind, Truth, Truths
from specray.errors import UserError
from specray.pipelines.engine import failure
from specray.pipelines.preparing import Prepared, check_grid, prepare
from specray.pipelines.sweep.combinations import Combination
from specray.pipelines.sweep.image import ObjectFinder
from specray.pipelines.sweep.scoring import ImageScores, image_scores
from specray.pipelines.sweep.sets import LabelledSet
from specray.pipelines.weights import load_weights
from specray.sources import Store, decode, image_size, resized_size
from specray.tables.rows import Row

CHUNK: Final = 8
"""Images that go to an actor together."""


@dataclass(frozen=True)
class SweepWork:
    """What the actors need to know, whichever process they are in."""

    features: BackboneConfig
    """The backbone; which features is the affair of the combinations."""
    weights_sha256: str | None
    combinations: Sequence[Combination]
    image_size: int | None
    """Short side in pixels; None: native."""
    max_pixels: int
    max_patches: int
    endpoint: str | None = None


def chunks_of(number: int, labelled: LabelledSet) -> list[Row]:
    """The images of a set, a few at a time, as an actor takes them."""
    found = []
    for first in range(0, len(labelled.keys), CHUNK):
        keys = labelled.keys[first : first + CHUNK]
        of = (labelled.store, labelled.dataset.truths(keys), labelled.wanted)
        found.append({"set": number, "first": first, "keys": keys, "of": pickle.dumps(of)})
    return found


class ScoreImages:
    """The actor, with one thread; see `chunks_of` and `specray.pipelines.sweep.passing`.

    An image that fails is a row with a ``code``. Ground truth that fails stops the pass: it is not
    the photograph's fault.
    """

    def __init__(self, work: SweepWork, device: str) -> None:
        torch.set_num_threads(1)  # more workers use more cores, and no sum depends on threads
        weights = load_weights(work.features, work.endpoint)
        if weights.sha256 != work.weights_sha256:
            raise UserError(f"{weights.source} changed since the run began; start it again")
        taps = dict.fromkeys((each.block, each.feature) for each in work.combinations)
        backbone = build_taps(work.features, weights.data, weights.source, device, taps)
        self._work = work
        self._patch = backbone.patch_size
        self._find = ObjectFinder(backbone, work.combinations)

    def __call__(self, chunk: Row) -> list[Row]:
        """One row per image of a chunk."""
        store, truths, wanted = pickle.loads(chunk["of"])  # what `chunks_of` has made, above
        rows = []
        for place, key in enumerate(chunk["keys"], chunk["first"]):
            row: Row = {"set": chunk["set"], "place": place, "code": "", "message": ""}
            scores = ImageScores(None, None)
            try:
                scores = self._scores(store, truths, wanted, key)
            except UserError:
                raise
            except Exception as error:
                found = failure(error)
                row |= {"code": found.code.value, "message": found.message}
            rows.append(row | {"hits": _bytes(scores.hits), "ious": _bytes(scores.ious)})
        return rows

    def _scores(
        self, store: Store, truths: Truths, wanted: Collection[Kind], key: str
    ) -> ImageScores:
        truth = truths.of(key, wanted)
        image = self._decoded(store, key)
        _check_size(key, truth, image)
        labels = self._find(np.ascontiguousarray(image.whole_patches(self._patch)))
        height, width = labels[0].shape
        geometry = image.geometry(self._patch, (height, width))
        return image_scores(labels, geometry, truth.boxes, truth.mask)

    def _decoded(self, store: Store, key: str) -> Prepared:
        work, data = self._work, store.read(key).data
        height, width = image_size(data)
        if height * width <= work.max_pixels:  # else decode refuses, with the better reason
            seen = resized_size(height, width, work.image_size)
            check_grid(*seen, self._patch, work.max_patches, self._patch)
        return prepare(key, decode(data, max_pixels=work.max_pixels, short_side=work.image_size))


def _check_size(key: str, truth: Truth, image: Prepared) -> None:
    if truth.mask is not None and truth.mask.shape != (image.height, image.width):
        height, width = truth.mask.shape
        raise UserError(
            f"--truth: the mask of {key} has {width} x {height} pixels, its image "
            f"{image.width} x {image.height}"
        )


def _bytes(scores: np.ndarray[tuple[int, ...], np.dtype[np.integer]] | None) -> bytes:
    return b"" if scores is None else scores.tobytes()
