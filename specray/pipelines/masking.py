"""From the spectra of images to the masks that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from specray.masks import ImageGeometry, Refiner, Segment, object_segments, region_segments
from specray.pipelines.config import SegmentConfig
from specray.pipelines.preparing import Prepared
from specray.seeds import derive_seed
from specray.tables.rows import Row, segment_row


@dataclass(frozen=True)
class Masking:
    """Makes and refines the masks of images of one size, on a CPU.

    Parameters
    ----------
    config
        Which masks, and how.
    cell
        Side in pixels of a cell of the grid.
    """

    config: SegmentConfig
    cell: int

    def __call__(
        self, images: Sequence[Prepared], vectors: Tensor, values: Tensor, grid: tuple[int, int]
    ) -> list[list[Row]]:
        """Values of the ``segments`` column.

        Parameters
        ----------
        images
            (B,) images.
        vectors, values
            (B, K, N) and (B, K) eigenpairs.
        grid
            (h, w) with ``h * w == N``.
        """
        geometries = [_geometry(image, self.cell, grid) for image in images]
        refiners = [self._refiner(image) for image in images]
        found: list[list[Segment]] = [[] for _ in images]
        for method in self.config.methods:
            if method == "objects":
                new = object_segments(vectors, grid, geometries, self.config.objects, refiners)
            else:
                seeds = [derive_seed(self.config.seed, image.key) for image in images]
                regions = self.config.regions
                new = region_segments(vectors, values, grid, geometries, regions, seeds, refiners)
            for have, more in zip(found, new, strict=True):
                have.extend(more)
        return [[segment_row(segment) for segment in segments] for segments in found]

    def _refiner(self, image: Prepared) -> Refiner | None:
        if self.config.refinement.refine == "none":
            return None
        fine = image.pixels if image.fine is None else image.fine
        return Refiner(fine, self.config.refinement)


def _geometry(image: Prepared, cell: int, grid: tuple[int, int]) -> ImageGeometry:
    resized_height, resized_width, _ = image.pixels.shape
    return ImageGeometry(
        height=image.height,
        width=image.width,
        resized_height=resized_height,
        resized_width=resized_width,
        patch=cell,
        grid_h=grid[0],
        grid_w=grid[1],
    )
