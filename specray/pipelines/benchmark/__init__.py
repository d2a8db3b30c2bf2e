"""Measured ratios: the eigen-solver, the whole job, objects and instances against ground truth."""

import lazy_loader

# On demand, see __init__.pyi: a worker that unpickles something of one part would import all others
# and torch, for many seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
