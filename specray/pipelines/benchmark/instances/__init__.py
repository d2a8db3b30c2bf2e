"""Instances: scores beside the reference's, and the speed of what tells them apart."""
