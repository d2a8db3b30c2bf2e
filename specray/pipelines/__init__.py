"""Whole jobs: Ray Data graphs and actors. The only place that knows Ray."""
