"""Instances: the objects of an image, apart."""
