"""specray: objects, regions, instances and labels from a bucket of unlabelled images, on Ray."""

from importlib.metadata import version

__version__ = version("specray")
