"""Labelled datasets in their publishers' layouts, as ground truth for scores."""
