"""Semantic labels: scores on CamVid, what features cost, and how the label job grows."""
