"""Fully connected CRFs: labels that follow the borders of the image."""

import lazy_loader

# Torch and numba take seconds to import: the public names, listed in __init__.pyi, come on demand.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
