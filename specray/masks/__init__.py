"""Eigenvectors to masks: objects and regions at the size of the original image."""

from __future__ import annotations

from specray.masks.background import background_first
from specray.masks.components import component_labels
from specray.masks.config import Connectivity, ObjectConfig, RegionConfig
from specray.masks.eigengap import eigengap_clusters
from specray.masks.geometry import Blocks, ImageGeometry, to_blocks, to_image
from specray.masks.kmeans import kmeans
from specray.masks.morphology import erode_dilate
from specray.masks.objects import object_labels, object_segments
from specray.masks.regions import region_labels, region_segments
from specray.masks.rle import RLE, LabelRuns, encode, label_runs
from specray.masks.segments import Segment, segments_from_labels
from specray.masks.silhouette import simplified_silhouette

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
