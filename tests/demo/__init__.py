"""Tests of the demo company: its files are read again independently and compared with the truths."""
