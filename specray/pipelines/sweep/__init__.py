"""The sweep job: which block, feature and rule finds the objects, by ground truth."""
