"""Labels to train on: those of the rows, whichever job has made them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from specray.errors import UserError
from specray.pipelines.labelled import UNLABELLED, label_map, label_run
from specray.pipelines.labels.config import LabelConfig
from specray.pipelines.labels.job import run_label
from specray.semantics import ClusterConfig
from specray.sources import open_store
from specray.tables import read
from specray.tables.rows import Row
from tests.pipelines.segmenter.cases import IMAGES

CLASSES = 5


def row(confidence: bytes | None = None) -> Row:
    """Of 4 x 6 pixels: class 7 on the left, class 2 in a corner, nothing else."""
    left, corner = np.zeros((2, 4, 6), np.uint8)
    left[:, :3] = 1
    corner[3, 5] = 1
    segments = [
        {"index": index, "score": score, "rle": coco_mask.encode(np.asfortranarray(mask))}
        for index, score, mask in ((7, 0.75, left), (2, 0.5, corner))
    ]
    return {"height": 4, "width": 6, "segments": segments, "confidence": confidence}


def test_pixels_have_the_place_of_their_class_and_others_none() -> None:
    labels, sure = label_map(row(), (2, 7), confidence=True)
    assert (labels[:, :3] == 1).all() and labels[3, 5] == 0
    assert (labels[:, 3:].ravel()[:-1] == UNLABELLED).all()
    assert sure is not None
    assert (sure[:, :3] == 0.75).all() and sure[3, 5] == 0.5 and sure[0, 4] == 0
    assert label_map(row(), (2, 7), confidence=False)[1] is None


def test_a_map_of_confidence_covers_the_image() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 51, 255]], np.uint8)).save(buffer, "PNG")
    _, sure = label_map(row(buffer.getvalue()), (2, 7), confidence=True)
    assert sure is not None
    np.testing.assert_allclose(sure, [[0, 0, 0.2, 0.2, 1, 1]] * 4, atol=1e-6)


def test_predictions_are_labels_with_their_photographs(labelled: Path) -> None:
    found = label_run(str(labelled), None, None)
    assert found.ids == tuple(range(CLASSES)) and found.has_confidence
    assert found.images.uri == open_store(str(labelled.parent / "in")).uri
    rows = [row for row in read(str(labelled)).to_pylist() if row["error"] is None]
    assert len(rows) == IMAGES
    maps = [label_map(each, found.ids, confidence=False)[0] for each in rows]
    pixels = np.bincount(np.concatenate([each.ravel() for each in maps]), minlength=CLASSES)
    np.testing.assert_array_equal(found.pixels(), pixels)


def test_classes_of_the_label_job_are_labels_with_the_photographs_of_its_segments(
    proposed: Path, tmp_path: Path
) -> None:
    output = str(tmp_path / "labels")
    clusters = ClusterConfig(classes=3)
    run_label(LabelConfig(str(proposed), output, source="primaps", clusters=clusters))
    found = label_run(output, None, None)
    assert len(found.ids) == 3
    assert found.images.uri == open_store(str(proposed.parent / "in")).uri
    assert found.pixels().sum() > 0
    moved = label_run(output, str(tmp_path), None)
    assert moved.images.uri == open_store(str(tmp_path)).uri


def test_what_has_no_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no label or predict run"):
        label_run(str(tmp_path), None, None)
