"""Tests of the gates: grammar, adapters, and a right and a wrong fixture for every gate."""
