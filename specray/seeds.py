"""Randomness that depends on what is drawn for, never on who draws or when."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def derive_seed(seed: int, key: str) -> int:
    """A 63-bit seed out of the run's seed and the key of the thing it is for.

    The same pair gives the same seed on every machine, in every process and order.

    Examples
    --------
    >>> derive_seed(0, "cat.jpg") == derive_seed(0, "cat.jpg")
    True
    >>> derive_seed(0, "cat.jpg") == derive_seed(1, "cat.jpg")
    False
    """
    digest = hashlib.blake2b(f"{seed}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest()) >> 1


def mixed(seeds: NDArray[np.uint64], index: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Uniform 64-bit numbers out of seeds and numbers, element by element.

    For many parts of one thing: `derive_seed` of the thing, mixed with the number of the part.

    References
    ----------
    G. Steele, D. Lea and C. Flood, Fast splittable pseudorandom number generators, OOPSLA 2014
    (SplitMix64).
    """
    with np.errstate(over="ignore"):
        x = seeds.astype(np.uint64) + index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return found
