"""Compiling ahead leaves nothing to compile."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc

import numpy as np
import torch
from numba.core.dispatcher import Dispatcher
from skimage import data

from specray.masks import (
    ImageGeometry, PrincipalConfig, RefineConfig, Refiner, SuperpixelConfig, described, matte,
    principal_segments, superpixel_segments,
)
from specray.masks.resize import resize_labels
from specray.spectral import pairwise_affinity
from specray.warm import warm

def compiled():
    functions = (thing for thing in gc.get_objects() if isinstance(thing, Dispatcher))
    ours = (f for f in functions if f.py_func.__module__.startswith(("specray", "pymatting")))
    return {(f.py_func.__module__, f.py_func.__name__, s) for f in ours for s in f.signatures}

warm()
before = compiled()
photograph = data.chelsea()[:100, :120]
photograph.setflags(write=False)  # as the pixels of a block of Arrow are
for count in (2, 7):
    labels = np.random.default_rng(0).integers(0, count, (100, 120))
    for refine in ("fast", "crf"):
        refined = Refiner(photograph, RefineConfig(refine))(labels)
        resize_labels(refined, 150, 180)
    matte(photograph, refined > 0)
pairwise_affinity(torch.rand(2, 50, 7), "l1")
features, geometry = torch.rand(1, 20, 7).half(), ImageGeometry(75, 90, 70, 84, 16, 4, 5)
(segments,) = superpixel_segments(features, (4, 5), [geometry], SuperpixelConfig(6))
described(segments, features[0], geometry)
for refine in ("fast", "crf"):
    refiners = [Refiner(photograph[:70, :84], RefineConfig(refine))]
    principal_segments(features, (4, 5), [geometry], PrincipalConfig(), refiners)
print(len(before) > 10, compiled() - before)
"""


def test_nothing_is_left_to_compile() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "True set()"
