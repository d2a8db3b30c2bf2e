"""The whole road: from a bucket of images to labels that a network has learnt, as one job."""
