"""Tests of the connectors; `pulling.py` is their common way in."""
