"""Days: which UTC days exist, how they group into ranges, and what a range means to the warehouse.

Pure functions over dates. Which days must be rebuilt is `restatement.py`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from dagster_project.settings import Settings

BEFORE_ALL = date(1970, 1, 1)
AFTER_ALL = date(9999, 12, 30)


@dataclass(frozen=True)
class Calendar:
    """The UTC days that are kept: from the configured start to the day that contains the last instant known.

    Attributes:
        first_date: First day, inclusive.
        last_date: Last day, inclusive.
        end_at: First instant that is not known yet; the last day may be known in part.
    """

    first_date: date
    last_date: date
    end_at: datetime

    @classmethod
    def of(cls, settings: Settings, *, now: datetime | None = None) -> Self:
        """Build the calendar of a configuration; `as_of`, when set, stands for the clock."""
        instant = settings.as_of or now or datetime.now(UTC)
        last = (instant - timedelta(microseconds=1)).date()
        return cls(settings.start_date, max(last, settings.start_date), instant)

    def days(self) -> Iterator[date]:
        """Give every day, in order."""
        for offset in range((self.last_date - self.first_date).days + 1):
            yield self.first_date + timedelta(days=offset)

    def clamp(self, day: date) -> date:
        """Give the day that a record of any date is filed under.

        A record before the first day belongs to the first, one after the last to the last: none is out of reach.
        """
        return min(max(day, self.first_date), self.last_date)

    def window(self, first: date, last: date) -> "Window":
        """Give the window of a range of days, open-ended where it touches the calendar's ends."""
        return Window(
            first_date=BEFORE_ALL if first <= self.first_date else first,
            last_date=AFTER_ALL if last >= self.last_date else last,
        )


@dataclass(frozen=True)
class Window:
    """A range of UTC days that one build replaces, both ends inclusive."""

    first_date: date
    last_date: date


def contiguous_ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Group days into maximal runs of consecutive days, in order.

    Returns:
        Pairs (first, last), both inclusive; no two touch.
    """
    ranges: list[tuple[date, date]] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1][1] == timedelta(days=1):
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
