"""The label job: semantic classes for the segments of a whole data set."""
