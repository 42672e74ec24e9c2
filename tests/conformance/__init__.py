"""Differential conformance: the ledger's prices against the calculators of two price libraries."""
