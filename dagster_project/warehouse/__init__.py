"""The border between files and SQL: the landing zone, the raw tables over it, and the wiring of dbt.

What a feed's columns mean belongs to the dbt models; what a wire format looks like belongs to `sources/`.
"""
