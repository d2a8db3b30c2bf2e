"""Scores of patches at the pixels between them, in compiled code on one CPU thread.

Scores are interpolated row by row and used at once: those of all pixels, K times the size of the
image, never exist.
"""

from __future__ import annotations

import numpy as np

from specray.kernels import compiled, exp, inlined


@compiled
def votes(scores, masks, count):  # type: ignore[no-untyped-def]
    """(M, K) int64: pixels of every mask by their best class, the first of equal ones.

    `scores` is (K, h, w) float32, `masks` (H, W) uint8; pixels of `count` and more are of no mask.
    """
    classes, rows, columns = scores.shape
    height, width = masks.shape
    below, above, rise = _taps(rows, height)
    left, right, share = _taps(columns, width)
    line, z = np.empty(columns, np.float32), np.empty((classes, width), np.float32)
    best = np.empty(width, np.int64)
    found = np.zeros((count, classes), np.int64)
    for y in range(height):
        _interpolate(scores, below[y], above[y], rise[y], left, right, share, line, z)
        best[:] = 0
        top = z[0]
        for k in range(1, classes):
            for x in range(width):
                if z[k, x] > top[x]:
                    top[x] = z[k, x]
                    best[x] = k
        for x in range(width):
            if masks[y, x] < count:
                found[masks[y, x], best[x]] += 1
    return found


@compiled
def softmax_sums(scores, height, width):  # type: ignore[no-untyped-def]
    """(K,) float64: sums over all pixels of the softmax of (K, h, w) float32 scores."""
    classes, rows, columns = scores.shape
    below, above, rise = _taps(rows, height)
    left, right, share = _taps(columns, width)
    line, z = np.empty(columns, np.float32), np.empty((classes, width), np.float32)
    top, inverse = np.empty(width, np.float32), np.empty(width, np.float32)
    sums = np.zeros(classes)
    for y in range(height):
        _interpolate(scores, below[y], above[y], rise[y], left, right, share, line, z)
        _exponentials(z, top, inverse)
        for k in range(classes):
            total = np.float32(0)
            for x in range(width):
                total += z[k, x] * inverse[x]
            sums[k] += total
    return sums


@compiled
def cross_entropy(scores, masks, targets, weights, gradient):  # type: ignore[no-untyped-def]
    """Sum over pixels of the weighted cross entropy with the class of their mask.

    `scores` is (K, h, w) float32, `masks` (H, W) uint8, `targets` (M,) int64, `weights` (M,)
    float32; pixels of M and more have no target. To `gradient`, (K, h, w) float32, that with
    respect to the scores is added.
    """
    classes, rows, columns = scores.shape
    height, width = masks.shape
    below, above, rise = _taps(rows, height)
    left, right, share = _taps(columns, width)
    line, z = np.empty(columns, np.float32), np.empty((classes, width), np.float32)
    top, inverse = np.empty(width, np.float32), np.empty(width, np.float32)
    target, weight = np.empty(width, np.int64), np.empty(width, np.float32)
    own = np.empty(width, np.float32)
    loss = 0.0
    for y in range(height):
        if not _targets(masks[y], targets, weights, target, weight):
            continue
        _interpolate(scores, below[y], above[y], rise[y], left, right, share, line, z)
        for x in range(width):
            own[x] = z[max(target[x], 0), x]
        _exponentials(z, top, inverse)
        for x in range(width):
            if target[x] >= 0:
                loss += weight[x] * (top[x] - own[x] - np.log(inverse[x]))
            inverse[x] *= weight[x]
        for k in range(classes):
            line[:] = 0
            for x in range(width):
                change = z[k, x] * inverse[x]
                if target[x] == k:
                    change -= weight[x]
                line[left[x]] += change - share[x] * change
                line[right[x]] += share[x] * change
            for x in range(columns):
                gradient[k, below[y], x] += line[x] - rise[y] * line[x]
                gradient[k, above[y], x] += rise[y] * line[x]
    return loss


@compiled
def _targets(masks, targets, weights, target, weight):  # type: ignore[no-untyped-def]
    """Class and weight of every pixel of a row, -1 and 0 where there is none; whether any is."""
    some = False
    for x in range(len(masks)):
        target[x], weight[x] = -1, 0
        if masks[x] < len(targets):
            target[x], weight[x] = targets[masks[x]], weights[masks[x]]
            some = True
    return some


@compiled
def _taps(small, large):  # type: ignore[no-untyped-def]
    """Cells between which every pixel lies, its share of the farther; corners not aligned."""
    low, high = np.empty(large, np.int64), np.empty(large, np.int64)
    share = np.empty(large, np.float32)
    for i in range(large):
        at = max((i + 0.5) * small / large - 0.5, 0.0)
        low[i] = int(at)
        high[i] = min(low[i] + 1, small - 1)
        share[i] = at - low[i]
    return low, high, share


@inlined
def _interpolate(scores, below, above, rise, left, right, share, line, z):  # type: ignore[no-untyped-def]
    """Scores of the pixels of one row into (K, W) `z`; `line` is room for a row of cells."""
    for k in range(len(z)):
        for x in range(len(line)):
            line[x] = scores[k, below, x] + rise * (scores[k, above, x] - scores[k, below, x])
        for x in range(z.shape[1]):
            z[k, x] = line[left[x]] + share[x] * (line[right[x]] - line[left[x]])


@inlined
def _exponentials(z, top, inverse):  # type: ignore[no-untyped-def]
    """exp(z - top) in place, the largest scores and one over the sums of the exponentials."""
    classes, width = z.shape
    for x in range(width):
        top[x] = z[0, x]
        inverse[x] = 0
    for k in range(1, classes):
        for x in range(width):
            top[x] = max(top[x], z[k, x])
    for k in range(classes):
        for x in range(width):
            z[k, x] = exp(z[k, x] - top[x])
            inverse[x] += z[k, x]
    for x in range(width):
        inverse[x] = np.float32(1) / inverse[x]
