from .background import background_first
from .components import component_labels
from .config import Connectivity, ObjectConfig, RegionConfig
from .eigengap import eigengap_clusters
from .geometry import Blocks, ImageGeometry, to_blocks, to_image
from .kmeans import kmeans
from .morphology import erode_dilate
from .objects import object_labels, object_segments
from .regions import region_labels, region_segments
from .rle import RLE, LabelRuns, encode, label_runs
from .segments import Segment, segments_from_labels
from .silhouette import simplified_silhouette

__all__ = [
    "RLE",
    "Blocks",
    "Connectivity",
    "ImageGeometry",
    "LabelRuns",
    "ObjectConfig",
    "RegionConfig",
    "Segment",
    "background_first",
    "component_labels",
    "eigengap_clusters",
    "encode",
    "erode_dilate",
    "kmeans",
    "label_runs",
    "object_labels",
    "object_segments",
    "region_labels",
    "region_segments",
    "segments_from_labels",
    "simplified_silhouette",
    "to_blocks",
    "to_image",
]
