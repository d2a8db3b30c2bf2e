"""A segmentation network that learns from pseudo labels (self-training; DSM, section 3.4)."""
