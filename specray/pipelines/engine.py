"""One image pass without Ray: pixels in, rows out. What the accelerator actor runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from specray import backbones
from specray.backbones import Backbone, CropEncoder, Projection
from specray.errors import ErrorCode, ImageError, Stage, unforeseen
from specray.pipelines.config import SegmentConfig
from specray.pipelines.masking import Masking, Spectra
from specray.pipelines.preparing import Prepared
from specray.spectral import decompose, resize_features
from specray.tables.rows import Row, error_row

_WORKSPACE_BYTES = 8 * 2**30
"""Room on a GPU for the affinity matrices of one batch."""

_OUT_OF_MEMORY = ("DefaultCPUAllocator", "_STATUS_ALLOC_FAILED", "CUDA error: out of memory")
"""What torch on a CPU, cuBLAS and cuSOLVER, and the CUDA driver say when there is no memory."""


class Engine:
    """Features, spectrum and masks of images, in batches of equal size.

    The rows of an image depend on that image, the configuration and the seed alone. An image
    that fails is a row with an ``error`` and no trouble to those beside it: a batch that runs out
    of memory, or raises anything else, is halved until the image is alone that causes it.

    Parameters
    ----------
    config, backbone, device
        What to compute, with what, where.
    fallback
        Makes the engine that takes an image for which the accelerator has too little memory; None
        where there is nothing to fall back to.
    masks
        Whether to make the masks as well; without, rows have ``vectors`` and
        ``features`` instead of ``segments``. Where nothing takes eigenvectors there are none of
        them, and no ``eigenvalues``.
    crops
        Describes the segments by their crops; None where they are not described so.
    projection
        Of the features that are kept and that describe segments; masks are of those of the
        backbone.

    Attributes
    ----------
    fallbacks : int
        Images that the fallback took.
    mask_seconds : float
        Spent so far on masks.
    """

    def __init__(
        self,
        config: SegmentConfig,
        backbone: Backbone,
        device: str,
        fallback: Callable[[], Engine] | None = None,
        masks: bool = True,
        crops: CropEncoder | None = None,
        projection: Projection | None = None,
    ) -> None:
        self._masking = (
            Masking(config, config.spectral.cell(backbone.patch_size), crops) if masks else None
        )
        self._config = config
        self._backbone = backbone
        self._device = torch.device(device)
        self._projection = projection
        self._fallback = fallback
        self._spare: Engine | None = None
        self.fallbacks = 0
        self.mask_seconds = 0.0

    def __call__(self, images: Sequence[Prepared]) -> list[Row]:
        """One row per image, in the order of the images.

        Raises
        ------
        torch.AcceleratorError
            The device is in a state in which this process can use it no more.
        """
        rows: list[Row | None] = [None] * len(images)
        for members in self._batches(images):
            for i, row in zip(members, self._patient([images[i] for i in members]), strict=True):
                rows[i] = row
        return [row for row in rows if row is not None]

    def _patient(self, batch: list[Prepared]) -> list[Row]:
        """`_rows`, halving the batch until what fails is alone."""
        try:
            return self._rows(batch)
        except Exception as error:
            if isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error):
                raise
            # without its traceback, which would keep the tensors of the attempt alive
            failed = error.with_traceback(None)
        if is_out_of_memory(failed) and self._device.type == "cuda":
            torch.cuda.empty_cache()
        if len(batch) > 1:
            half = len(batch) // 2
            return self._patient(batch[:half]) + self._patient(batch[half:])
        if is_out_of_memory(failed) and self._fallback is not None:
            self.fallbacks += 1
            self._spare = self._spare or self._fallback()
            return self._spare(batch)
        return [_size_of(batch[0]) | {"error": error_row(failure(failed))}]

    def _batches(self, images: Sequence[Prepared]) -> Iterable[list[int]]:
        """Positions of images of equal size, in groups whose affinities fit the workspace.

        On a CPU every image goes alone: together they are no faster (one image's matrices fill
        the cache), and alone the last bit of a result cannot depend on the company.
        """
        if self._device.type == "cpu":
            yield from ([i] for i in range(len(images)))
            return
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            by_shape[self._seen(image).shape].append(i)
        for (height, width, _), members in by_shape.items():
            cell = self._config.spectral.cell(self._backbone.patch_size)
            affinity_bytes = 4 * ((height // cell) * (width // cell)) ** 2
            # two matrices of that size are alive at a time
            step = max(1, _WORKSPACE_BYTES // (2 * affinity_bytes))
            yield from (members[i : i + step] for i in range(0, len(members), step))

    @torch.inference_mode()
    def _rows(self, batch: list[Prepared]) -> list[Row]:
        pixels = torch.from_numpy(np.stack([self._seen(image) for image in batch]))
        pixels = pixels.permute(0, 3, 1, 2)
        features = self._backbone(pixels)
        finite = features.isfinite().flatten(1).all(dim=1).tolist()
        good = [i for i, ok in enumerate(finite) if ok]
        rows: list[Row] = [_not_finite(image) for image in batch]
        if good:
            images, select = [batch[i] for i in good], torch.tensor(good)
            found = self._segment(images, pixels[select], features[select.to(features.device)])
            for i, row in zip(good, found, strict=True):
                rows[i] = row
        return rows

    def _seen(self, image: Prepared) -> NDArray[np.uint8]:
        return image.whole_patches(self._backbone.patch_size)

    def _segment(self, batch: list[Prepared], pixels: Tensor, features: Tensor) -> list[Row]:
        patch = self._backbone.patch_size
        grid = (pixels.shape[2] // patch, pixels.shape[3] // patch)
        cells = self._config.spectral.cells(grid, patch)
        values, vectors, rows = self._eigenpairs(pixels, features, grid, cells)
        of_cells, projected, scale = None, None, torch.ones(len(batch))
        if self._config.needs_features:
            own = _on(cells, features, grid)
            scale = _largest(own.flatten(1))
            of_cells = _halved(own, scale)
        if self._projection is not None and self._config.needs_features:
            theirs = _on(cells, self._projection(features), grid)
            scale = _largest(theirs.flatten(1))
            projected = _halved(theirs, scale)
        spectra = Spectra(cells, values, vectors, of_cells, projected)
        if self._masking is None:
            more = _handed_over(spectra)
        else:
            begin = time.monotonic()
            more = self._masks(self._masking, batch, spectra)
            self.mask_seconds += time.monotonic() - begin
        keep = self._config.keep
        for i, image in enumerate(batch):
            rows[i] |= _size_of(image) | {"grid_h": cells[0], "grid_w": cells[1]} | more[i]
            if "features" in keep:
                rows[i]["feature_scale"] = float(scale[i])
        if "views" in keep:
            kept = self._views(batch, pixels, grid, cells, scale)
            for i, image in enumerate(batch):
                finite = bool(kept[i].isfinite().all())
                views = {"views": kept[i].numpy().tobytes()}
                rows[i] = rows[i] | views if finite else _not_finite(image)
        return rows

    def _eigenpairs(
        self, pixels: Tensor, features: Tensor, grid: tuple[int, int], cells: tuple[int, int]
    ) -> tuple[Tensor, Tensor, list[Row]]:
        """(B, K) eigenvalues, (B, K, N) eigenvectors, their columns; none where nothing asks."""
        images = len(features)
        if not self._config.needs_eigenvectors:
            vectors = torch.empty(images, 0, cells[0] * cells[1])
            return torch.empty(images, 0), vectors, [{} for _ in range(images)]
        patch, spectral = self._backbone.patch_size, self._config.spectral
        colours = pixels if spectral.color_lambda else None
        pairs, _ = decompose(features, grid, patch, spectral, colours)
        vectors, values = pairs.vectors.cpu(), pairs.values.cpu()
        fallback = pairs.dense_fallback.tolist()
        rows: list[Row] = [
            {"eigenvalues": values[i].numpy(), "dense_fallback": fallback[i]} for i in range(images)
        ]
        if "eigenvectors" in self._config.keep:
            for row, kept in zip(rows, _halved(vectors, _largest(vectors)), strict=True):
                row["eigenvectors"] = kept.flatten().numpy()
        return values, vectors, rows

    def _masks(self, masking: Masking, batch: list[Prepared], spectra: Spectra) -> list[Row]:
        rows = masking(batch, spectra)
        if "features" in self._config.keep:
            for row, features in zip(rows, spectra.described, strict=True):
                row["features"] = features.flatten().numpy()
        return rows

    def _views(
        self,
        batch: list[Prepared],
        pixels: Tensor,
        grid: tuple[int, int],
        cells: tuple[int, int],
        scale: Tensor,
    ) -> Tensor:
        """(B, V, N, C) float16 features of what is seen besides the images, one after the other."""
        keys = [image.key for image in batch]
        images = pixels.to(scale.device)  # where the backbone works
        seen = backbones.variants(images, keys, self._config.seed, self._config.views)
        backbone = backbones.projected(self._backbone, self._projection)
        features = (_on(cells, backbone(variant), grid) for variant in seen)
        return torch.stack([_halved(each, scale) for each in features], dim=1)


def _handed_over(spectra: Spectra) -> list[Row]:
    vectors, features = spectra.vectors.flatten(1).numpy(), spectra.features
    flat = [None] * len(vectors) if features is None else features.flatten(1).numpy()
    return [{"vectors": v, "features": f} for v, f in zip(vectors, flat, strict=True)]


def _on(cells: tuple[int, int], features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Features of the cells from those of the patches."""
    return features if cells == grid else resize_features(features, grid, cells)


def _largest(vectors: Tensor) -> Tensor:
    """Largest magnitude along the last dimension, to divide by."""
    return vectors.abs().amax(dim=-1).clamp_min(torch.finfo(vectors.dtype).tiny)


def _halved(vectors: Tensor, scale: Tensor) -> Tensor:
    """Vectors over their scales: half precision holds no very large or small numbers."""
    scale = scale.reshape(*scale.shape, *[1] * (vectors.ndim - scale.ndim))
    return (vectors / scale).half().contiguous().cpu()


def _size_of(image: Prepared) -> Row:
    return {"key": image.key, "width": image.width, "height": image.height}


def _not_finite(image: Prepared) -> Row:
    message = "the backbone returned NaN or infinite features; try --precision fp32"
    error = ImageError(ErrorCode.NOT_FINITE, Stage.FEATURES, message)
    return _size_of(image) | {"error": error_row(error)}


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out; not every allocator has a class of its own for that."""
    named = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return named or any(sign in str(error) for sign in _OUT_OF_MEMORY)


def failure(error: Exception) -> ImageError:
    """What an image is told to have that raised this, alone."""
    if isinstance(error, ImageError):
        return error
    found = unforeseen(error, Stage.SEGMENT)
    if is_out_of_memory(error):
        found = ImageError(ErrorCode.OUT_OF_MEMORY, Stage.SEGMENT, found.message)
    return found
