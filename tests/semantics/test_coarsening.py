from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from specray.errors import UserError
from specray.semantics import Codebook
from tests.semantics.cases import blobs, codebook, unit

CENTRES = unit(np.random.default_rng(0).standard_normal((4, 24)))
COARSE = np.random.default_rng(1).integers(4, size=2000)
FINE = 3 * COARSE + np.random.default_rng(2).integers(3, size=2000)
OFFSETS = 0.08 * np.random.default_rng(3).standard_normal((12, 24))
NOISE = 0.01 * np.random.default_rng(4).standard_normal((2000, 24))
POINTS = unit(CENTRES[COARSE] + OFFSETS[FINE] + NOISE)
BOOK = codebook(POINTS, 12)


@pytest.mark.parametrize("spherical", [True, False])
def test_groups_of_classes_are_the_clusters_above_them(spherical: bool) -> None:
    coarse = codebook(POINTS, 12, spherical=spherical).coarsened(4)
    assert adjusted_rand_score(coarse.assign(POINTS).classes, COARSE) == 1.0


def test_rows_can_be_relabelled_instead_of_assigned() -> None:
    groups = BOOK.groups(4)
    relabelled = [groups[number] for number in BOOK.assign(POINTS).classes.tolist()]
    np.testing.assert_array_equal(relabelled, BOOK.coarsened(4).assign(POINTS).classes)


def test_a_group_has_the_id_and_medoid_of_its_largest_class_and_all_its_points() -> None:
    coarse, groups = BOOK.coarsened(4), BOOK.groups(4)
    assert coarse.sizes.sum() == 2000 and (np.diff(coarse.sizes) <= 0).all()
    for number, size, medoid in zip(coarse.ids, coarse.sizes, coarse.medoids, strict=True):
        members = [k for k in range(12) if groups[k] == number]
        assert size == BOOK.sizes[members].sum()
        assert number == max(members, key=lambda k: BOOK.sizes[k])
        assert medoid == BOOK.medoids[int(number)]


def test_inertia_and_radii_are_bounds() -> None:
    coarse = BOOK.coarsened(4)
    found = coarse.assign(POINTS)
    assert np.square(found.distance).mean() <= coarse.quality.inertia
    for number, radius in zip(coarse.ids, coarse.radii, strict=True):
        assert found.distance[found.classes == number].mean() <= radius


def test_as_many_groups_as_classes_change_nothing_but_what_was_measured_of_the_fit() -> None:
    same = BOOK.coarsened(12)
    np.testing.assert_array_equal(same.ids, BOOK.ids)
    np.testing.assert_allclose(same.centroids, BOOK.centroids, atol=1e-6)
    np.testing.assert_allclose(same.merges[:, 2:], BOOK.merges[:, 2:], rtol=1e-5)


def test_a_group_keeps_the_only_name_and_drops_names_that_differ() -> None:
    groups = BOOK.groups(4)
    members: dict[int, list[int]] = {}
    for number, group in groups.items():
        members.setdefault(group, []).append(number)
    one, two, *_ = members.values()
    names = {one[-1]: "road", two[0]: "sky", two[1]: "tree"}
    assert BOOK.renamed(names).coarsened(4).names == {groups[one[0]]: "road"}


def test_a_coarsened_codebook_survives_its_bytes() -> None:
    coarse = BOOK.coarsened(3)
    assert Codebook.from_bytes(coarse.to_bytes()).to_bytes() == coarse.to_bytes()
    assert coarse.next_id == 12


@pytest.mark.parametrize("classes", [0, 13])
def test_impossible_numbers_are_refused(classes: int) -> None:
    with pytest.raises(UserError, match="12 classes"):
        BOOK.coarsened(classes)
    with pytest.raises(UserError, match="12 classes"):
        BOOK.groups(classes)


def test_points_of_one_class_stay_one() -> None:
    assert codebook(blobs(1, 50)[0], 1).coarsened(1).ids.tolist() == [0]
