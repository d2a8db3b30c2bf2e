from __future__ import annotations

import numpy as np
import pytest

from specray.errors import UserError
from specray.semantics import CurvePoint, choose, stability_curve
from tests.semantics.cases import blobs


@pytest.mark.parametrize("classes", [5, 10, 20])
def test_the_number_of_clear_clusters_is_found(classes: int) -> None:
    points, _ = blobs(classes, 1500, spread=0.5)
    tried = [2, classes - 1, classes, classes + 1, 30]
    curve = stability_curve(points, tried, seed=0, spherical=True)
    chosen, why = choose(curve)
    assert chosen == classes
    assert str(classes) in why and "2 to 30" in why


def test_the_curve_is_the_same_twice_and_tells_its_progress() -> None:
    points, _ = blobs(4, 400)
    lines: list[str] = []
    curves = [
        stability_curve(points, range(2, 5), seed=3, spherical=True, progress=lines.append)
        for _ in range(2)
    ]
    assert curves[0] == curves[1]
    assert len(lines) == 6 and lines[0].startswith("2 classes")


def test_inertia_falls_and_stability_does_beyond_the_truth() -> None:
    points, _ = blobs(4, 600)
    curve = stability_curve(points, range(2, 8), seed=0, spherical=True)
    assert (np.diff([point.inertia for point in curve]) < 0).all()
    stability = [point.stability for point in curve]
    assert stability[2] == 1.0 > max(stability[3:])


def test_at_a_broad_elbow_the_most_stable_number_is_taken() -> None:
    inertia = [1.0, 0.6, 0.42, 0.36, 0.34, 0.32]
    stability = [1.0, 0.9, 0.6, 0.8, 0.7, 0.7]
    curve = [
        CurvePoint(k, i, None, s, 0.0)
        for k, i, s in zip(range(2, 8), inertia, stability, strict=True)
    ]
    assert choose(curve)[0] == 4
    assert choose(curve[:1])[0] == 2


def test_more_classes_than_a_half_has_distinct_points_are_not_tried() -> None:
    points = np.repeat(blobs(6, 6)[0], 20, axis=0)
    curve = stability_curve(points, range(2, 31), seed=0, spherical=True)
    assert [point.classes for point in curve] == [2, 3, 4, 5, 6]
    with pytest.raises(UserError, match="give --classes"):
        stability_curve(points[:20], range(2, 31), seed=0, spherical=True)
