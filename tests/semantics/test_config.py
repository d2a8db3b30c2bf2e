from __future__ import annotations

from typing import Any

import pytest

from specray.semantics import ClusterConfig


@pytest.mark.parametrize(
    ("fields", "flag"),
    [
        ({"classes": 0}, "--classes"),
        ({"min_classes": 1}, "--min-classes"),
        ({"min_classes": 9, "max_classes": 8}, "--max-classes"),
        ({"pca": 0}, "--pca"),
        ({"whiten": True}, "--whiten"),
        ({"restarts": 0}, "--restarts"),
        ({"iterations": 0}, "--iterations"),
        ({"fit_points": 0}, "--fit-points"),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_flag(fields: dict[str, Any], flag: str) -> None:
    with pytest.raises(ValueError, match=flag):
        ClusterConfig(**fields)
