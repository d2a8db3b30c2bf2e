"""The colours of classes."""

from __future__ import annotations

import numpy as np
import skimage.color

from specray.tables.colours import COLOURS, class_colour


def test_colours_of_classes_lie_far_apart_those_of_the_first_ones_farthest() -> None:
    lab = skimage.color.rgb2lab(np.array([class_colour(i) for i in range(COLOURS)]) / 255)
    distances = np.linalg.norm(lab[:, None] - lab, axis=2)
    distances[np.diag_indices(COLOURS)] = np.inf
    for count, least in ((12, 50), (27, 30), (64, 21), (COLOURS, 9)):
        assert distances[:count, :count].min() >= least


def test_ids_beyond_the_last_colour_have_one_too() -> None:
    assert class_colour(COLOURS + 3) == class_colour(3)
