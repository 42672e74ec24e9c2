"""Measurements of speed and memory: `python -m tests.benchmarks`. They report; nothing passes or fails."""
