"""Label maps compared with ground truth, or with those of another run."""
