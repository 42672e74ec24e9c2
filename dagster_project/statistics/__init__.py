"""Pure statistics: distributions, forecasts, finance, experiments and capacity.

Belongs here: functions of numbers that return numbers, with numpy and scipy.
Does not belong here: Dagster, files, databases, the environment, the clock; `analytics/` brings the data.
"""
