"""The days of a Dagster run, from its partition tags."""

from collections.abc import Mapping
from datetime import date

from dagster_project.settings import Settings
from dagster_project.warehouse.calendar import Calendar, Window

_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"
_PARTITION = "dagster/partition"


def range_tags(first: date, last: date) -> dict[str, str]:
    """Give the run tags of a range of days, both ends inclusive."""
    return {_RANGE_START: first.isoformat(), _RANGE_END: last.isoformat()}


def run_window(tags: Mapping[str, str], settings: Settings) -> Window:
    """Give the days of a run from its tags; everything when it has none."""
    calendar = Calendar.of(settings)
    start = tags.get(_RANGE_START) or tags.get(_PARTITION)
    end = tags.get(_RANGE_END) or tags.get(_PARTITION)
    if start is None or end is None:
        return calendar.window(calendar.first_date, calendar.last_date)
    return calendar.window(date.fromisoformat(start), date.fromisoformat(end))
