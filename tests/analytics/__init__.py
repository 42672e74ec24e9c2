"""Tests of the analytics assets."""
