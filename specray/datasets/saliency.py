"""DUTS, ECSSD and DUT-OMRON: masks of what stands out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from specray.datasets.folder import open_folder
from specray.datasets.indexed import IndexedDataset
from specray.datasets.masks import masks_of

_FOLDERS: Final = {
    "duts-te": ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
    "duts-tr": ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
    "ecssd": ("images", "ground_truth_mask"),
    "dut-omron": ("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
}
"""Of the JPEG images and of the PNG masks, as the archives unpack."""


def duts(uri: str, endpoint: str | None = None, split: str = "te") -> IndexedDataset[str]:
    """DUTS, from the folder that holds ``DUTS-TE`` and ``DUTS-TR``.

    Parameters
    ----------
    uri, endpoint
        Of that folder.
    split
        ``te``, for scores, or ``tr``.

    References
    ----------
    L. Wang et al., Learning to detect salient objects with image-level supervision, CVPR 2017.
    """
    return _saliency(uri, endpoint, f"duts-{split}")


def ecssd(uri: str, endpoint: str | None = None) -> IndexedDataset[str]:
    """ECSSD, from the folder that holds ``images`` and ``ground_truth_mask``.

    Parameters
    ----------
    uri, endpoint
        Of that folder.

    References
    ----------
    J. Shi et al., Hierarchical image saliency detection on extended CSSD, TPAMI 2016.
    """
    return _saliency(uri, endpoint, "ecssd")


def dut_omron(uri: str, endpoint: str | None = None) -> IndexedDataset[str]:
    """DUT-OMRON, from the folder that holds ``DUT-OMRON-image`` and ``pixelwiseGT-new-PNG``.

    Parameters
    ----------
    uri, endpoint
        Of that folder.

    References
    ----------
    C. Yang et al., Saliency detection via graph-based manifold ranking, CVPR 2013.
    """
    return _saliency(uri, endpoint, "dut-omron")


def _saliency(uri: str, endpoint: str | None, name: str) -> IndexedDataset[str]:
    images, masks = _FOLDERS[name]
    root = open_folder(uri, endpoint)
    folder = root.at(masks)

    def index() -> Iterator[tuple[str, str]]:
        return ((f"{file[: -len('.png')]}.jpg", file) for file in folder.names(".png"))

    return masks_of(folder, index, root.at(images).uri)
