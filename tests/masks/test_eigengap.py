"""The eigengap rule (golden check 13)."""

from __future__ import annotations

import pytest
import torch

from specray.masks import eigengap_clusters


@pytest.mark.parametrize(
    ("values", "clusters"),
    [
        ([0.0, 0.01, 0.02, 0.5, 0.6], 3),
        ([0.0, 0.9, 0.91, 0.93, 0.94], 3),  # the first gap is the largest, and never chosen
        ([0.0, 0.1, 0.5, 0.55, 0.6], 2),
        ([0.0, 0.1, 0.2, 0.3, 0.9], 4),
        ([0.0, 0.4], 2),  # no gap to choose
    ],
)
def test_clusters_end_at_the_largest_gap_but_the_first(values: list[float], clusters: int) -> None:
    assert eigengap_clusters(torch.tensor([values])).tolist() == [clusters]


def test_every_image_has_its_own_number_of_clusters() -> None:
    values = torch.tensor([[0.0, 0.1, 0.5, 0.55], [0.0, 0.1, 0.2, 0.9]])
    assert eigengap_clusters(values).tolist() == [2, 3]
