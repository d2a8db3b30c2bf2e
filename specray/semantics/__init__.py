"""Features of a whole dataset to classes: space, k-means, choice of K, hierarchy, codebook."""

import lazy_loader

# FAISS and scikit-learn take a second to import: the public names come on demand.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
