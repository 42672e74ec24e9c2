"""Days: which exist, where a stray record is filed, what a window reaches, how days group into ranges."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dagster_project.settings import load_settings
from dagster_project.warehouse.calendar import AFTER_ALL, BEFORE_ALL, Calendar, Window, contiguous_ranges

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 8)
CALENDAR = Calendar(FIRST, LAST, datetime(2026, 3, 9, tzinfo=UTC))


def _calendar(folder: Path, as_of: str | None, now: datetime | None = None) -> Calendar:
    config = folder / "company.yaml"
    lines = ["organization: Mill", "start_date: 2026-03-02", "sources: [{name: prices, kind: genai_prices}]"]
    config.write_text("\n".join([*lines, f"as_of: {as_of}" if as_of else ""]), encoding="utf-8")
    return Calendar.of(load_settings(config_path=config, state_dir=folder / "state", environ={}), now=now)


@pytest.mark.parametrize(
    ("as_of", "last_date"),
    [
        # Midnight is the end of the day before, not the beginning of a day of which nothing is known.
        ("2026-03-09T00:00:00Z", date(2026, 3, 8)),
        ("2026-03-09T00:00:01Z", date(2026, 3, 9)),
        ("2026-03-08T23:30:00-02:00", date(2026, 3, 9)),
        # Before the first day there is still the first day.
        ("2026-01-01T00:00:00Z", FIRST),
    ],
)
def test_calendar_ends_with_the_day_of_the_last_known_instant(tmp_path: Path, as_of: str, last_date: date):
    calendar = _calendar(tmp_path, as_of)
    assert (calendar.first_date, calendar.last_date) == (FIRST, last_date)


def test_calendar_without_an_as_of_instant_follows_the_clock(tmp_path: Path):
    now = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)
    assert _calendar(tmp_path, None, now) == Calendar(FIRST, date(2026, 3, 4), now)


def test_days_are_all_days_in_order():
    assert [day.day for day in CALENDAR.days()] == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("day", "filed_under"),
    [(date(1970, 1, 21), FIRST), (FIRST, FIRST), (date(2026, 3, 5), date(2026, 3, 5)), (date(2099, 1, 1), LAST)],
)
def test_clamp_files_a_stray_day_under_the_nearest_end(day: date, filed_under: date):
    assert CALENDAR.clamp(day) == filed_under


@pytest.mark.parametrize(
    ("first", "last", "window"),
    [
        (date(2026, 3, 4), date(2026, 3, 5), Window(date(2026, 3, 4), date(2026, 3, 5))),
        (FIRST, date(2026, 3, 5), Window(BEFORE_ALL, date(2026, 3, 5))),
        (date(2026, 3, 4), LAST, Window(date(2026, 3, 4), AFTER_ALL)),
        (FIRST, LAST, Window(BEFORE_ALL, AFTER_ALL)),
    ],
)
def test_window_is_open_where_it_touches_an_end(first: date, last: date, window: Window):
    assert CALENDAR.window(first, last) == window


@pytest.mark.parametrize(
    ("days", "ranges"),
    [
        ([], []),
        ([3], [(3, 3)]),
        ([5, 3, 4, 4], [(3, 5)]),
        ([8, 2, 3, 5], [(2, 3), (5, 5), (8, 8)]),
    ],
)
def test_contiguous_ranges_are_maximal_and_in_order(days: list[int], ranges: list[tuple[int, int]]):
    found = contiguous_ranges(date(2026, 3, day) for day in days)
    assert [(first.day, last.day) for first, last in found] == ranges


def test_contiguous_ranges_cross_the_end_of_a_month():
    assert contiguous_ranges([date(2026, 3, 1), date(2026, 2, 28)]) == [(date(2026, 2, 28), date(2026, 3, 1))]
