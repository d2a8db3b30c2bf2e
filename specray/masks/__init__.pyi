from .background import background_first
from .components import component_labels
from .config import Connectivity, ObjectConfig, RefineConfig, RegionConfig
from .crf.dense import dense_crf, label_energies
from .crf.parameters import DSM_CRF, PRIMAPS_CRF, CRFParameters
from .eigengap import eigengap_clusters
from .geometry import Blocks, ImageGeometry, to_blocks, to_image
from .kmeans import kmeans
from .matting.alpha import NotConverged, closed_form_alpha
from .matting.composite import composite, cutout
from .matting.config import MattingConfig
from .matting.foreground import foreground_colors
from .matting.matte import Matte, matte
from .matting.trimap import Trimap, trimap
from .morphology import erode_dilate
from .objects import object_labels, object_segments
from .refine import Refiner
from .regions import region_labels, region_segments
from .rle import RLE, LabelRuns, encode, label_runs
from .segments import Segment, segments_from_labels, segments_from_pixels
from .silhouette import simplified_silhouette

__all__ = [
    "DSM_CRF",
    "PRIMAPS_CRF",
    "RLE",
    "Blocks",
    "CRFParameters",
    "Connectivity",
    "ImageGeometry",
    "LabelRuns",
    "Matte",
    "MattingConfig",
    "NotConverged",
    "ObjectConfig",
    "RefineConfig",
    "Refiner",
    "RegionConfig",
    "Segment",
    "Trimap",
    "background_first",
    "closed_form_alpha",
    "component_labels",
    "composite",
    "cutout",
    "dense_crf",
    "eigengap_clusters",
    "encode",
    "erode_dilate",
    "foreground_colors",
    "kmeans",
    "label_energies",
    "label_runs",
    "matte",
    "object_labels",
    "object_segments",
    "region_labels",
    "region_segments",
    "segments_from_labels",
    "segments_from_pixels",
    "simplified_silhouette",
    "to_blocks",
    "to_image",
    "trimap",
]
