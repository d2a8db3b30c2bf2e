"""The permutohedral lattice in compiled code, for one CPU thread (Adams, Baek and Davis, 2010).

A pixel with its feature vector f of D dimensions (position, colour) lies in a simplex of D + 1
lattice points. Filtering with a Gaussian is: splat values to the points, blur along the D + 1 axes
of the lattice, slice at the pixels (`specray.masks.crf.compiled_filter`).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from specray.kernels import compiled, inlined
from specray.masks.crf.compiled_filter import filtered

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Deviations = tuple[float, ...]

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.float32(0.5)
_ONE: Final = np.float32(1)


class Lattice(NamedTuple):
    """Where the pixels of an image lie among the points of a lattice; N pixels, M points.

    Point 0 stands for all that are not there: its values are 0.
    """

    vertices: NDArray[np.int32]
    """(N, D + 1) points of the simplex of every pixel."""
    weights: Floats
    """(N, D + 1) barycentric coordinates, times the square root of the pixel's normalisation."""
    neighbours: NDArray[np.int32]
    """(D + 1, M + 1, 2) points before and after every point on every axis."""
    slots: NDArray[np.int32]
    """(capacity,) hash table: the point of a slot, 0 where it is free."""
    slot_keys: NDArray[np.int64]
    """(capacity,) packed coordinates of the point of a slot."""
    sums: Floats
    """(M + 1, 1) what a filter without normalisation makes of ones, at the points."""
    deviations: Deviations
    """(D,) of the Gaussian, in x, y and perhaps three colours."""


def build(image: Pixels, deviations: Deviations, stride: int = 1) -> Lattice:
    """The normalised lattice of an image.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    deviations
        (D,) of x, y and, for D = 5, the three colours.
    stride
        Pixels of the full image that a pixel of this one stands for, in each direction: positions
        are those of the full image.

    Raises
    ------
    ValueError
        The image is too large for the deviations.
    """
    count = len(deviations)
    # The largest coordinate is bounded by the sum of the elevated features.
    extents = (image.shape[1] * stride, image.shape[0] * stride, 256, 256, 256)
    units = [math.sqrt(2 / 3) * (count + 1) / math.sqrt((i + 1) * (i + 2)) for i in range(count)]
    reach = sum((i + 1) * units[i] * extents[i] / deviations[i] for i in range(count))
    if reach + 2 * count >= 2 ** (62 // count - 1):
        raise ValueError(
            f"deviations of {', '.join(f'{d:g}' for d in deviations)} are too small for an image of"
            f" {image.shape[1] * stride} x {image.shape[0] * stride} pixels; raise them, or refine"
            " at a smaller size"
        )
    lattice: Lattice = _build(image, stride, tuple(float(d) for d in deviations))
    return lattice


@inlined
def _slot(key, mask):  # type: ignore[no-untyped-def]
    mixed = np.uint64(key) * _MULTIPLIER
    # the last coordinate sits in the highest bits of the key: let it reach the lower ones
    return np.int64((mixed ^ (mixed >> np.uint64(32))) >> np.uint64(16)) & mask


@inlined
def locate(image, y, x, stride, deviations, elevated, remainder, rank, bary, units):  # type: ignore[no-untyped-def]
    """Find the simplex of a pixel.

    Writes its barycentric coordinates to `bary` (D + 2,) and to `units` (D + 1,) the packed unit
    vector of the axis of each rank; returns the packed key of the vertex of remainder 0. The
    vertex of remainder k + 1 has the key of k plus `ones_key` minus (D + 1) ``units[D - k]``.
    """
    dimensions = len(deviations)
    vertices = dimensions + 1
    bits = 62 // dimensions
    down = np.float32(1 / vertices)
    unit_blur = np.float64(np.float32(math.sqrt(2 / 3) * vertices))
    total = np.float32(0)
    for j in range(dimensions, 0, -1):
        if j > 2:
            feature = np.float32(image[y, x, j - 3])
        elif j == 2:
            feature = (np.float32(y) + _HALF) * np.float32(stride) - _HALF
        else:
            feature = (np.float32(x) + _HALF) * np.float32(stride) - _HALF
        # rounded as the reference implementation does, which decides between simplices
        factor = np.float32(unit_blur / math.sqrt((j + 1) * j))
        scaled = feature / np.float32(deviations[j - 1]) * factor
        elevated[j] = total - np.float32(j) * scaled
        total += scaled
    elevated[0] = total
    plane = np.int32(0)
    for i in range(vertices):
        rounded = np.int32(math.floor(down * elevated[i] + _HALF))
        remainder[i] = rounded * vertices
        plane += rounded
        rank[i] = 0
    for i in range(dimensions):
        residual = elevated[i] - np.float32(remainder[i])
        for j in range(i + 1, vertices):
            if residual < elevated[j] - np.float32(remainder[j]):
                rank[i] += 1
            else:
                rank[j] += 1
    for i in range(vertices + 1):
        bary[i] = np.float32(0)
    key = np.int64(0)
    for i in range(vertices):
        place = rank[i] + plane
        if place < 0:
            place += vertices
            remainder[i] += vertices
        elif place > dimensions:
            place -= vertices
            remainder[i] -= vertices
        share = (elevated[i] - np.float32(remainder[i])) * down
        bary[dimensions - place] += share
        bary[vertices - place] -= share
        # the last coordinate follows from the others, and has no place in the key
        unit = np.int64(1) << np.int64(bits * i) if i < dimensions else np.int64(0)
        units[place] = unit
        key += np.int64(remainder[i]) * unit
    bary[0] += _ONE + bary[vertices]
    return key


@inlined
def ones_key(dimensions):  # type: ignore[no-untyped-def]
    """Packed vector of ones."""
    total = np.int64(0)
    for i in range(dimensions):
        total += np.int64(1) << np.int64((62 // dimensions) * i)
    return total


@inlined
def find(slots, slot_keys, key):  # type: ignore[no-untyped-def]
    """The slot of a key: its own, or the free one where it belongs."""
    mask = len(slots) - 1
    slot = _slot(key, mask)
    while slots[slot] != 0 and slot_keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def scratch(deviations):  # type: ignore[no-untyped-def]
    """Working memory of `locate`."""
    vertices = len(deviations) + 1
    return (
        np.empty(vertices, np.float32),
        np.empty(vertices, np.int32),
        np.empty(vertices, np.int32),
        np.empty(vertices + 1, np.float32),
        np.empty(vertices, np.int64),
    )


@compiled
def _grown(slots, slot_keys):  # type: ignore[no-untyped-def]
    """The same hash table with twice as many slots."""
    larger = np.zeros(2 * len(slots), np.int32)
    larger_keys = np.empty(2 * len(slots), np.int64)
    for slot in range(len(slots)):
        if slots[slot] != 0:
            place = find(larger, larger_keys, slot_keys[slot])
            larger[place] = slots[slot]
            larger_keys[place] = slot_keys[slot]
    return larger, larger_keys


@compiled
def _build(image, stride, deviations):  # type: ignore[no-untyped-def]
    pixels = image.shape[0] * image.shape[1]
    count = len(deviations) + 1
    vertices = np.empty((pixels, count), np.int32)
    weights = np.empty((pixels, count), np.float32)
    # Small at first: a photograph has far fewer points than pixels, and they are to fit the cache.
    slots = np.zeros(1 << 12, np.int32)
    slot_keys = np.empty(1 << 12, np.int64)
    points, done = _fill(image, stride, deviations, vertices, weights, slots, slot_keys, 0, 0)
    while done < pixels:
        slots, slot_keys = _grown(slots, slot_keys)
        points, done = _fill(
            image, stride, deviations, vertices, weights, slots, slot_keys, points, done
        )
    neighbours = _neighbours(slots, slot_keys, points, len(deviations))
    sums = np.zeros((points + 1, 1), np.float32)
    lattice = Lattice(vertices, weights, neighbours, slots, slot_keys, sums, deviations)
    sums[:] = filtered(lattice, np.ones((1, pixels), np.float32))
    _normalise(lattice)
    return lattice


@compiled
def _fill(image, stride, deviations, vertices, weights, slots, slot_keys, points, first):  # type: ignore[no-untyped-def]
    """Enter the pixels from `first` on, until all are done or the hash table is half full.

    Returns the number of points and of pixels done. (A table that could be replaced in the
    innermost loop would make it a third slower: numba counts references there.)
    """
    dimensions = len(deviations)
    count = dimensions + 1
    ones = ones_key(dimensions)
    elevated, remainder, rank, bary, units = scratch(deviations)
    # neighbouring pixels often share vertices, which then need no look-up
    last_key = np.full(count, np.iinfo(np.int64).max)
    last_point = np.zeros(count, np.int32)
    for n in range(first, len(vertices)):
        if 2 * (points + count) > len(slots):
            return points, n
        y, x = divmod(n, image.shape[1])
        key = locate(image, y, x, stride, deviations, elevated, remainder, rank, bary, units)
        for k in range(count):
            if key != last_key[k]:
                slot = find(slots, slot_keys, key)
                if slots[slot] == 0:
                    points += 1
                    slots[slot] = points
                    slot_keys[slot] = key
                last_key[k] = key
                last_point[k] = slots[slot]
            vertices[n, k] = last_point[k]
            weights[n, k] = bary[k]
            key += ones - count * units[dimensions - k]
    return points, len(vertices)


@compiled
def _neighbours(slots, slot_keys, points, dimensions):  # type: ignore[no-untyped-def]
    count = dimensions + 1
    ones = ones_key(dimensions)
    neighbours = np.zeros((count, points + 1, 2), np.int32)
    for axis in range(count):
        unit = np.int64(0)
        if axis < dimensions:
            unit = np.int64(1) << np.int64((62 // dimensions) * axis)
        for slot in range(len(slots)):
            point = slots[slot]
            if point != 0:
                before = slots[find(slots, slot_keys, slot_keys[slot] + count * unit - ones)]
                if before != 0:
                    neighbours[axis, point, 0] = before
                    neighbours[axis, before, 1] = point
    return neighbours


@compiled
def _normalise(lattice):  # type: ignore[no-untyped-def]
    """Multiply the weights of every pixel by the square root of its normalisation.

    With them a splat, a blur and a slice are one application of N K N.
    """
    for n in range(len(lattice.weights)):
        total = np.float32(0)
        for k in range(len(lattice.deviations) + 1):
            total += lattice.weights[n, k] * lattice.sums[lattice.vertices[n, k], 0]
        factor = root_of_norm(total, len(lattice.deviations))
        for k in range(len(lattice.deviations) + 1):
            lattice.weights[n, k] *= factor


@inlined
def root_of_norm(total, dimensions):  # type: ignore[no-untyped-def]
    """Factor of a pixel's weights whose slice of `Lattice.sums` is `total`."""
    alpha = np.float32(1 / (1 + 2.0**-dimensions))
    return np.float32(math.sqrt(alpha / (alpha * total + np.float32(1e-20))))
