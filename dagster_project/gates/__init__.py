"""What each stage must satisfy before the next one may run: one grammar for three tools.

Gates, their verdicts, the suites of the two borders (landing to raw, marts to serving) and the adapters to
Great Expectations and to SQL belong here. Transformations, alerts and Dagster objects do not.
"""
