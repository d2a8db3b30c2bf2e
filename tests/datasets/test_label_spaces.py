"""Numbers of label files to the classes that are scored."""

from __future__ import annotations

import numpy as np

from specray.datasets.label_spaces import (
    CITYSCAPES,
    COCO_STUFF,
    IGNORED,
    ISPRS,
    POTSDAM,
    numbered,
)

NUMBERS = np.arange(256, dtype=np.uint8)


def test_cityscapes_counts_from_the_seventh_number() -> None:
    found = CITYSCAPES(NUMBERS)
    assert (found[7], found[33]) == (0, 26)
    assert found[7:34].tolist() == list(range(27))
    assert (found[:7] == IGNORED).all() and (found[34:] == IGNORED).all()
    assert CITYSCAPES.names[16:20] == ("sky", "person", "rider", "car")


def test_every_number_of_coco_stuff_has_one_class() -> None:
    found = COCO_STUFF(NUMBERS)
    assert (found[:182] < 27).all() and (found[182:] == IGNORED).all()
    assert np.unique(found[:182]).tolist() == list(range(27))
    assert len(COCO_STUFF.names) == 27
    things = set(found[:91].tolist())
    assert things == set(range(12)), "the first twelve classes are those of things"


def test_potsdam_joins_pairs() -> None:
    found = POTSDAM(NUMBERS)
    assert found[:6].tolist() == [0, 1, 2, 2, 0, 1]
    assert (found[6:] == IGNORED).all()


def test_tiles_of_mmsegmentation_have_the_classes_of_potsdam_and_borders_that_do_not_count() -> (
    None
):
    found = ISPRS(NUMBERS)
    assert found[1:7].tolist() == POTSDAM(NUMBERS)[:6].tolist()
    assert found[0] == IGNORED and (found[7:] == IGNORED).all()
    assert ISPRS.names == POTSDAM.names


def test_numbered_classes_are_themselves() -> None:
    found = numbered(11)(NUMBERS)
    assert found[:11].tolist() == list(range(11)) and (found[11:] == IGNORED).all()


def test_a_label_image_keeps_its_shape() -> None:
    image = np.array([[0, 4], [255, 5]], np.uint8)
    assert POTSDAM(image).tolist() == [[0, 0], [IGNORED, 1]]
    assert image.tolist() == [[0, 4], [255, 5]]
