"""Eigenvectors to masks: objects and regions at the size of the original image."""

import lazy_loader

# Torch and timm take seconds to import: the public names, listed in __init__.pyi, come on demand.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
