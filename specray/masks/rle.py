"""COCO run-length encoding of every label of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.kernels import compiled
from specray.masks.geometry import Blocks


class RLE(TypedDict):
    """COCO compressed run-length encoding."""

    size: list[int]
    """[height, width] in pixels."""
    counts: bytes
    """Compressed run lengths in column-major order, background first."""


@dataclass(frozen=True)
class LabelRuns:
    """A label map in column-major order, as runs of equal label; neighbours differ."""

    labels: NDArray[np.integer]
    """(T,) label of every run."""
    edges: NDArray[np.int64]
    """(T + 1,) first pixel of every run, and the number of pixels of the map at the end."""


def label_runs(blocks: Blocks) -> LabelRuns:
    """Runs of equal label in column-major order of the full-size map."""
    height, width = int(blocks.heights.sum()), int(blocks.widths.sum())
    # the runs of every column of blocks, from top to bottom; every column begins with a new run
    begins = np.ones(blocks.labels.shape, dtype=np.bool_)
    begins[1:] = blocks.labels[1:] != blocks.labels[:-1]
    column, row = np.nonzero(begins.T)
    tops = np.cumsum(blocks.heights) - blocks.heights
    # every pixel column repeats the runs of its column of blocks
    count = begins.sum(axis=0)
    block_column = np.arange(len(count)).repeat(blocks.widths)
    repeats = count[block_column]
    skipped = (np.cumsum(count) - count)[block_column] - (np.cumsum(repeats) - repeats)
    run = np.arange(repeats.sum()) + skipped.repeat(repeats)
    starts = tops[row][run] + (np.arange(width) * height).repeat(repeats)
    labels = blocks.labels[row, column][run]
    # a run goes on across the foot of a pixel column if the next column begins with its label
    new = np.ones(labels.shape, dtype=np.bool_)
    new[1:] = labels[1:] != labels[:-1]
    return LabelRuns(labels[new], np.append(starts[new], height * width))


def encode(runs: LabelRuns, label: int, size: tuple[int, int]) -> RLE:
    """COCO compressed RLE of the pixels with `label`.

    Parameters
    ----------
    runs
        Runs of the map.
    label
        The label that is foreground.
    size
        (height, width) of the map in pixels.

    Returns
    -------
    Equal, byte for byte, to ``pycocotools.mask.encode`` of the mask.
    """
    mine = np.flatnonzero(runs.labels == label)
    # runs of one label never touch, so their edges are exactly the places where the mask changes
    changes = np.stack([runs.edges[mine], runs.edges[mine + 1]], axis=1).ravel()
    if len(mine) and changes[-1] == runs.edges[-1]:
        changes = changes[:-1]
    counts = np.diff(changes, prepend=0, append=runs.edges[-1])
    encoded = coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)
    return RLE(size=list(size), counts=encoded["counts"])


def run_edges(mask: RLE) -> NDArray[np.int64]:
    """First pixel of every run of a mask in column-major order, and the number of pixels.

    Runs alternate, the first is background: ``[edges[1], edges[2])`` are the first pixels of the
    mask.

    Examples
    --------
    >>> run_edges(RLE(coco_mask.encode(np.asfortranarray([[0, 1, 1, 0]], np.uint8)))).tolist()
    [0, 1, 3, 4]
    """
    edges: NDArray[np.int64] = _edges(np.frombuffer(mask["counts"], np.uint8))
    return edges


@compiled
def _edges(counts):  # type: ignore[no-untyped-def]
    edges = np.zeros(len(counts) + 1, np.int64)
    runs, place = 0, 0
    while place < len(counts):
        # five bits of a number per byte, the lowest first; bit 6: more follow
        length, shift, more = np.int64(0), 0, True
        while more:
            byte = np.int64(counts[place]) - 48
            length |= (byte & 31) << shift
            shift += 5
            more = byte & 32 != 0
            place += 1
            if not more and byte & 16 != 0:
                length |= -1 << shift
        if runs > 2:  # from the third on, differences to the run before the last are stored
            length += edges[runs - 1] - edges[runs - 2]
        runs += 1
        edges[runs] = edges[runs - 1] + length
    return edges[: runs + 1]
