"""Filtering with a permutohedral lattice in compiled code: splat, blur, slice.

The functions take a `specray.masks.crf.compiled_lattice.Lattice`. The loops over the D + 1 vertices
of a pixel have the length of a tuple, which numba knows when it compiles: they are unrolled.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from specray.kernels import compiled

LANES: Final = 4
"""Channels that are filtered together."""

_HALF: Final = np.float32(0.5)


@compiled
def filtered(lattice, values):  # type: ignore[no-untyped-def]
    """Splat values (C, N) of the pixels and blur them; returns (M + 1, C) values of the points.

    C is 1 or `LANES`: loops of unknown length over a few channels would cost more than the
    arithmetic, while of four equal statements LLVM makes vector instructions.
    """
    if len(values) == LANES:
        return _blur_lanes(lattice, _splat_lanes(lattice, values))
    return _blur_single(lattice, _splat_single(lattice, values))


@compiled
def add_sliced(lattice, table, weight, messages):  # type: ignore[no-untyped-def]
    """Slice: add to `messages` (C, N) the weighted values `table` (M + 1, C) of the points."""
    if len(messages) == LANES:
        _slice_lanes(lattice, table, weight, messages)
    else:
        _slice_single(lattice, table, weight, messages)


@compiled
def _splat_single(lattice, values):  # type: ignore[no-untyped-def]
    table = np.zeros((lattice.neighbours.shape[1], 1), np.float32)
    for n in range(values.shape[1]):
        value = values[0, n]
        for k in range(len(lattice.deviations) + 1):
            table[lattice.vertices[n, k], 0] += lattice.weights[n, k] * value
    return table


@compiled
def _splat_lanes(lattice, values):  # type: ignore[no-untyped-def]
    table = np.zeros((lattice.neighbours.shape[1], LANES), np.float32)
    for n in range(values.shape[1]):
        a, b, c, d = values[0, n], values[1, n], values[2, n], values[3, n]
        for k in range(len(lattice.deviations) + 1):
            weight = lattice.weights[n, k]
            point = lattice.vertices[n, k]
            e = table[point, 0] + weight * a
            f = table[point, 1] + weight * b
            g = table[point, 2] + weight * c
            h = table[point, 3] + weight * d
            table[point, 0] = e
            table[point, 1] = f
            table[point, 2] = g
            table[point, 3] = h
    return table


@compiled
def _blur_single(lattice, table):  # type: ignore[no-untyped-def]
    other = np.zeros_like(table)
    for axis in range(len(lattice.deviations) + 1):
        for point in range(1, len(table)):
            before = lattice.neighbours[axis, point, 0]
            after = lattice.neighbours[axis, point, 1]
            other[point, 0] = table[point, 0] + _HALF * (table[before, 0] + table[after, 0])
        table, other = other, table
    return table


@compiled
def _blur_lanes(lattice, table):  # type: ignore[no-untyped-def]
    other = np.zeros_like(table)
    for axis in range(len(lattice.deviations) + 1):
        for point in range(1, len(table)):
            before = lattice.neighbours[axis, point, 0]
            after = lattice.neighbours[axis, point, 1]
            a = table[point, 0] + _HALF * (table[before, 0] + table[after, 0])
            b = table[point, 1] + _HALF * (table[before, 1] + table[after, 1])
            c = table[point, 2] + _HALF * (table[before, 2] + table[after, 2])
            d = table[point, 3] + _HALF * (table[before, 3] + table[after, 3])
            other[point, 0] = a
            other[point, 1] = b
            other[point, 2] = c
            other[point, 3] = d
        table, other = other, table
    return table


@compiled
def _slice_single(lattice, table, weight, messages):  # type: ignore[no-untyped-def]
    for n in range(messages.shape[1]):
        total = np.float32(0)
        for k in range(len(lattice.deviations) + 1):
            total += lattice.weights[n, k] * table[lattice.vertices[n, k], 0]
        messages[0, n] += weight * total


@compiled
def _slice_lanes(lattice, table, weight, messages):  # type: ignore[no-untyped-def]
    for n in range(messages.shape[1]):
        a = b = c = d = np.float32(0)
        for k in range(len(lattice.deviations) + 1):
            share = lattice.weights[n, k]
            point = lattice.vertices[n, k]
            a += share * table[point, 0]
            b += share * table[point, 1]
            c += share * table[point, 2]
            d += share * table[point, 3]
        messages[0, n] += weight * a
        messages[1, n] += weight * b
        messages[2, n] += weight * c
        messages[3, n] += weight * d
