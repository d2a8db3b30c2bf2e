"""From the spectra of images to the masks that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from specray.backbones import CropEncoder
from specray.masks import (
    PRIMAPS_CRF,
    CRFParameters,
    Refiner,
    Segment,
    described,
    instance_segments,
    object_segments,
    principal_masks,
    proposal_segments,
    region_segments,
    superpixel_segments,
)
from specray.pipelines.config import SegmentConfig
from specray.pipelines.crops import describe_crops
from specray.pipelines.preparing import Prepared
from specray.seeds import derive_seed
from specray.tables.rows import Row, segment_row


@dataclass(frozen=True)
class Spectra:
    """What masks are made of, for images of one grid."""

    grid: tuple[int, int]
    """(h, w) cells."""
    values: Tensor
    """(B, K) eigenvalues."""
    vectors: Tensor
    """(B, K, N) eigenvectors, ``N == h * w``."""
    features: Tensor | None
    """(B, N, C) float16 features of the cells; None where nothing asks for them."""
    projected: Tensor | None = None
    """(B, N, D) float16, the same projected; None where there is no projection."""

    @property
    def of_cells(self) -> Tensor:
        """The features, by somebody for whom they are there."""
        assert self.features is not None  # `SegmentConfig.needs_features`
        return self.features

    @property
    def described(self) -> Tensor:
        """What segments are described by: the features as another method has them, if one does."""
        return self.of_cells if self.projected is None else self.projected


@dataclass(frozen=True)
class Masking:
    """Makes and refines the masks of images of one size, on a CPU.

    Parameters
    ----------
    config
        Which masks, and how.
    cell
        Side in pixels of a cell of the grid.
    crops
        Describes the segments by their crops; None where they are not described so.
    """

    config: SegmentConfig
    cell: int
    crops: CropEncoder | None = None

    def __call__(self, images: Sequence[Prepared], spectra: Spectra) -> list[Row]:
        """What the rows have of masks: ``segments``, and for primaps ``primaps_capped``.

        Parameters
        ----------
        images
            (B,) images.
        spectra
            Theirs.
        """
        config, grid, vectors = self.config, spectra.grid, spectra.vectors
        geometries = [image.geometry(self.cell, grid) for image in images]
        refiners = [self._refiner(image, config.refinement.crf) for image in images]
        seeds = [derive_seed(config.seed, image.key) for image in images]
        found: list[list[Segment]] = [[] for _ in images]
        rows: list[Row] = [{} for _ in images]
        for method in config.methods:
            if method == "objects":
                new = object_segments(vectors, grid, geometries, config.objects, refiners)
            elif method == "regions":
                values, regions = spectra.values, config.regions
                new = region_segments(vectors, values, grid, geometries, regions, seeds, refiners)
            elif method == "instances":
                features, instances = spectra.of_cells, config.instances
                new = instance_segments(features, grid, geometries, instances, seeds, refiners)
            elif method == "primaps":
                proposals = principal_masks(spectra.of_cells, config.primaps)
                own = [self._refiner(image, PRIMAPS_CRF) for image in images]
                new = proposal_segments(proposals, grid, geometries, own)
                rows = [{"primaps_capped": capped} for capped in proposals.capped.tolist()]
            else:
                features, superpixels = spectra.of_cells, config.superpixels
                new = superpixel_segments(features, grid, geometries, superpixels)
            for have, more in zip(found, new, strict=True):
                have.extend(more)
        if self.crops is not None:
            found = [
                describe_crops(image, segments, self.cell, self.crops)
                for image, segments in zip(images, found, strict=True)
            ]
        elif config.describe == "mean":
            found = [
                described(segments, features, geometry)
                for segments, features, geometry in zip(
                    found, spectra.described, geometries, strict=True
                )
            ]
        for row, segments in zip(rows, found, strict=True):
            row["segments"] = [segment_row(segment) for segment in segments]
        return rows

    def _refiner(self, image: Prepared, crf: CRFParameters) -> Refiner | None:
        if self.config.refinement.refine == "none":
            return None
        fine = image.pixels if image.fine is None else image.fine
        return Refiner(fine, replace(self.config.refinement, crf=crf))
