"""Self-training: a segmentation network learns from the classes that a run has found."""
