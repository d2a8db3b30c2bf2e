"""Labelled datasets in their publishers' layouts, as ground truth for scores.

A layout is one short file with one function, from a URI to a `Dataset`: a record of every image,
and how its ground truth is read (`specray.datasets.indexed`). `LAYOUTS` has them by name.
"""

from specray.datasets.base import Dataset, Kind, PanopticTruth, Truth, Truths, stem
from specray.datasets.label_spaces import LABEL_SPACES, LabelSpace, TruthSpace, numbered
from specray.datasets.opening import LAYOUTS, DatasetConfig, Layout

__all__ = [
    "LABEL_SPACES",
    "LAYOUTS",
    "Dataset",
    "DatasetConfig",
    "Kind",
    "LabelSpace",
    "Layout",
    "PanopticTruth",
    "Truth",
    "TruthSpace",
    "Truths",
    "numbered",
    "stem",
]
