"""The demo company NovaSpark: a deterministic data set with planted, known truths.

Here belong the generator of its feed files, its source configuration and the truths that tests and the tour
check against. No reading of feeds, no pricing for real users, no Dagster.
"""
