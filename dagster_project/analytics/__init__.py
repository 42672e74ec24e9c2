"""Assets that feed marts to `statistics/` and store what comes back, with a picture of each.

Reading marts, storing results and Dagster metadata belong here; every formula belongs to `statistics/`.
"""
