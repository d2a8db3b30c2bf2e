from .choosing import CurvePoint, choose, stability_curve
from .codebook import Codebook, Medoid, Quality
from .config import ClusterConfig
from .fit import fit
from .hierarchy import ward
from .kmeans import Clustering, cluster
from .matching import SAME_CLASS
from .names import read_names
from .nearest import Assigned
from .space import Space, fit_space

__all__ = [
    "SAME_CLASS",
    "Assigned",
    "ClusterConfig",
    "Clustering",
    "Codebook",
    "CurvePoint",
    "Medoid",
    "Quality",
    "Space",
    "choose",
    "cluster",
    "fit",
    "fit_space",
    "read_names",
    "stability_curve",
    "ward",
]
