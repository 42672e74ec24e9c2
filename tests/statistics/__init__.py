"""Tests of the pure statistics."""
