"""Whole runs of the main job, looked at from the published tables."""
