"""Tests of what leaves the pipeline: the serving file and the exports."""
