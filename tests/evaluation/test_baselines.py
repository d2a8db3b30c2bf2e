"""The trivial answers score what is known of them on the real sets."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from specray.evaluation import (
    CorLoc,
    ForegroundSums,
    centred_box,
    centred_mask,
    corloc,
    foreground,
    mean_of_groups,
    voc_boxes,
)


def test_centred_box_keeps_the_shape_of_the_image() -> None:
    assert centred_box(100, 200, 0.5).tolist() == [50, 25, 150, 75]
    assert centred_box(100, 200, 1).tolist() == [0, 0, 200, 100]


def test_centred_mask_holds_the_pixel_centres_in_the_box() -> None:
    mask = centred_mask(10, 20, 0.5)
    expected = np.zeros((10, 20), dtype=np.bool_)
    expected[2:7, 5:15] = True  # rows 2.5 to 7.5: the centre of row 2 is in, that of row 7 is not
    np.testing.assert_array_equal(mask, expected)
    assert centred_mask(7, 9, 1).all()


@pytest.mark.parametrize(("side", "percent"), [(0.7, 29.4), (1.0, 14.1)])
def test_centred_box_has_its_known_corloc_on_kangaroo(
    assets: Path, side: float, percent: float
) -> None:
    files = sorted((assets / "data" / "kangaroo" / "annotations").glob("**/*.xml"))
    score = sum((_corloc(file, side) for file in files), CorLoc())
    assert score.images == 163
    assert score.finish() == pytest.approx(percent, abs=0.05)


def test_centred_mask_has_its_known_iou_on_davis(assets: Path) -> None:
    sequences: defaultdict[str, ForegroundSums] = defaultdict(ForegroundSums)
    for file in sorted((assets / "data" / "davis2016_val" / "masks").glob("*/*.png")):
        with Image.open(file) as image:
            truth = np.asarray(image) > 0
        height, width = truth.shape
        sequences[file.parent.name] += foreground(centred_mask(height, width, 0.6), truth)
    assert len(sequences) == 20
    assert sum(sequences.values(), ForegroundSums()).finish().iou == pytest.approx(0.188, abs=5e-4)
    # published for every other frame: 18.2 +- 2.2 over the sequences
    assert mean_of_groups(sequences.values()).iou == pytest.approx(0.182, abs=2e-3)


def _corloc(file: Path, side: float) -> CorLoc:
    root = ElementTree.parse(file).getroot()
    width, height = (int(root.findtext(f"size/{name}", "")) for name in ("width", "height"))
    names = ("xmin", "ymin", "xmax", "ymax")
    truth = [[float(box.findtext(n, "")) for n in names] for box in root.iter("bndbox")]
    return corloc(centred_box(height, width, side), voc_boxes(truth))
