"""Predictions to score: specray's own tables, and what other tools write."""
