from .background import background_first
from .classes import ClassMap, class_map, class_segments
from .cleaning import clean_foreground
from .components import component_labels
from .config import (
    Connectivity,
    Describe,
    InstanceConfig,
    ObjectConfig,
    PrincipalConfig,
    RefineConfig,
    RegionConfig,
    SuperpixelConfig,
)
from .coverage import cell_coverage
from .crf.dense import dense_crf, label_energies
from .crf.parameters import DSM_CRF, PRIMAPS_CRF, CRFParameters
from .describe import described
from .eigengap import eigengap_clusters
from .geometry import Blocks, ImageGeometry, to_blocks, to_image
from .instances.clusters import CountRule, cluster_count, cluster_instances
from .instances.embedding import (
    SPECUNIIS,
    EmbeddingConfig,
    instance_embedding,
    instance_foreground,
)
from .instances.objectness import objectness
from .instances.segments import instance_segments
from .instances.separate import Instances, separate, spectral_instances, tree_instances
from .instances.tree import segment_tree
from .kmeans import kmeans
from .matting.alpha import NotConverged, closed_form_alpha
from .matting.composite import composite, cutout
from .matting.config import MattingConfig
from .matting.foreground import foreground_colors
from .matting.matte import Matte, matte
from .matting.trimap import Trimap, trimap
from .median import masked_median, replicated_median
from .morphology import erode_dilate
from .objects import object_labels, object_segments
from .principal.majority import majority_filter
from .principal.proposals import Proposals, principal_masks
from .principal.segments import principal_segments, proposal_segments
from .refine import Refiner
from .regions import region_labels, region_segments
from .rle import RLE, LabelRuns, encode, label_runs
from .seen import NO_MASK, seen_labels, seen_masks
from .segments import Segment, segments_from_labels, segments_from_pixels
from .silhouette import simplified_silhouette
from .superpixels import superpixel_labels, superpixel_segments

__all__ = [
    "DSM_CRF",
    "NO_MASK",
    "PRIMAPS_CRF",
    "RLE",
    "SPECUNIIS",
    "Blocks",
    "CRFParameters",
    "ClassMap",
    "Connectivity",
    "CountRule",
    "Describe",
    "EmbeddingConfig",
    "ImageGeometry",
    "InstanceConfig",
    "Instances",
    "LabelRuns",
    "Matte",
    "MattingConfig",
    "NotConverged",
    "ObjectConfig",
    "PrincipalConfig",
    "Proposals",
    "RefineConfig",
    "Refiner",
    "RegionConfig",
    "Segment",
    "SuperpixelConfig",
    "Trimap",
    "background_first",
    "cell_coverage",
    "class_map",
    "class_segments",
    "clean_foreground",
    "closed_form_alpha",
    "cluster_count",
    "cluster_instances",
    "component_labels",
    "composite",
    "cutout",
    "dense_crf",
    "described",
    "eigengap_clusters",
    "encode",
    "erode_dilate",
    "foreground_colors",
    "instance_embedding",
    "instance_foreground",
    "instance_segments",
    "kmeans",
    "label_energies",
    "label_runs",
    "majority_filter",
    "masked_median",
    "matte",
    "object_labels",
    "object_segments",
    "objectness",
    "principal_masks",
    "principal_segments",
    "proposal_segments",
    "region_labels",
    "region_segments",
    "replicated_median",
    "seen_labels",
    "seen_masks",
    "segment_tree",
    "segments_from_labels",
    "segments_from_pixels",
    "separate",
    "simplified_silhouette",
    "spectral_instances",
    "superpixel_labels",
    "superpixel_segments",
    "to_blocks",
    "to_image",
    "tree_instances",
    "trimap",
]
