"""The configuration of the label job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from specray.checks import at_least, share
from specray.errors import ErrorCode
from specray.masks import RefineConfig
from specray.semantics import ClusterConfig

Source = Literal["superpixels", "regions", "objects", "instances", "primaps", "patches"]
Background = Literal["class", "apart", "merged"]

POINTS: Final[dict[Source, str]] = {
    "superpixels": "superpixel",
    "regions": "region",
    "objects": "object",
    "instances": "instance",
    "primaps": "primap",
    "patches": "patch",
}
"""What is clustered, as `ShardCounts.points` and the ``segments`` column name it."""


@dataclass(frozen=True)
class LabelConfig:
    """Give the segments of a segment run classes that mean the same across all images.

    Clusters the features of all segments (k-means, FAISS) and writes one row per image: its
    semantic map, a mask per class, and the class and confidence of each segment. The classes are in
    codebook.safetensors: the same command again labels new images by them, so does --codebook
    elsewhere; with --names it names them. Class ids go by size, 0 has the most segments. specray
    report shows the classes, specray export --classes merges them.

    Try: specray label --input out/ --output labels/ --classes 20

    As in DSM: specray segment with --regions 15 --erode 2 --dilate 5 --describe crop --refine none,
    then --source regions --background merged --no-spherical --refine none.

    Parameters
    ----------
    input
        Where the segment job wrote: a folder or URI. Its last finished state is labelled.
    output
        Where the codebook and the table go: a folder or URI of its own.
    source
        What is clustered: `superpixels`, `regions`, `objects`, `instances` or `primaps`, if the run
        looked for them (its --methods), or single `patches`, if it kept them (its --keep features).
    background
        With regions, what becomes of region 0 of each image. `class`: it is labelled like any
        other; `apart`: it has no class, and is left out of the clustering; `merged`: left out, too,
        and given class 0 together with a cluster, as the code of DSM does.
    codebook
        Classes of an earlier label job (its codebook.safetensors) instead of new ones: they keep
        their ids. The settings of the clustering then mean nothing.
    match
        An earlier codebook: new classes that resemble its own take their ids and names.
    names
        Names of the classes: a .json, .yaml or .csv file of `id` and `name`.
    images
        Where the photographs are now; absent = where the run read them. --refine none needs none.
    num_workers
        Batches in hand at a time; absent = one per CPU core.
    max_error_rate
        Stop when more than this share of the images become error rows, as in `specray segment`.
    retry
        Do again those error rows that have one of these codes, besides what is missing.
    seed
        Seed of everything random.
    endpoint
        URL of an S3-compatible store for s3:// URIs; absent = the one of the run. Credentials come
        from the environment.
    overwrite
        Drop what the output holds, its classes as well, instead of continuing it.
    """

    input: str
    output: str
    source: Source = "superpixels"
    background: Background = "class"
    codebook: str | None = None
    match: str | None = None
    names: str | None = None
    images: str | None = None
    num_workers: int | None = None
    max_error_rate: float = 0.5
    retry: tuple[ErrorCode, ...] = ()
    seed: int = 0
    endpoint: str | None = None
    overwrite: bool = False
    clusters: ClusterConfig = field(default_factory=ClusterConfig)
    refinement: RefineConfig = field(default_factory=RefineConfig)

    def __post_init__(self) -> None:
        at_least(1, self, "num_workers")
        share(self, "max_error_rate")
        if self.background != "class" and self.source != "regions":
            raise ValueError(f"--background {self.background} is for --source regions alone")
        if self.codebook is not None and self.match is not None:
            raise ValueError("--codebook has its ids already; drop --match, or cluster anew")
