"""What rate cards share: exact prices, windows of the week, context bands, versions."""

from datetime import date
from decimal import Decimal

import pytest
from pydantic import ValidationError

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._rates import (
    ALL_WEEK,
    MILLION,
    CatalogueOptions,
    RateError,
    WindowRule,
    clock_window,
    context_bands,
    decimal_of,
    multiplier_of,
    offset_minutes_of,
    unit_price,
    week_windows,
    weekdays_of,
)

HOUR = 60
DAY = 24 * HOUR
WEEK = 7 * DAY


@pytest.mark.parametrize(
    ("amount", "per", "expected"),
    [
        # 1.25 / 1,000,000 = 0.00000125
        ("1.25", MILLION, "0.000001250000000"),
        # The float 0.18000000000000002 per million is 0.18 per million: what lies below 1E-15 is dust.
        ("0.18000000000000002", MILLION, "0.000000180000000"),
        # 4.80 an hour: 4.80 / 3600 = 0.001333..., rounded at the 15th decimal.
        ("4.80", 3600, "0.001333333333333"),
        ("0", MILLION, "0.000000000000000"),
        ("999.5", 1, "999.500000000000000"),
        ("0.000000000000001", 1, "0.000000000000001"),
    ],
)
def test_unit_price_is_exact_to_the_15th_decimal(amount: str, per: int, expected: str):
    assert str(f"{unit_price(Decimal(amount), per=per):f}") == expected


@pytest.mark.parametrize("amount", ["-0.000001", "1000", "0.0000000000000009", "NaN", "Infinity"])
def test_unit_price_refuses_what_is_no_price(amount: str):
    with pytest.raises(RateError):
        unit_price(Decimal(amount))


@pytest.mark.parametrize("amount", ["0", "-1", "1000", "1.0000001", "NaN"])
def test_multiplier_refuses_what_is_none(amount: str):
    with pytest.raises(RateError):
        multiplier_of(Decimal(amount))


def test_multiplier_keeps_six_decimals():
    assert multiplier_of(Decimal("1.1")) == Decimal("1.100000")


@pytest.mark.parametrize(
    ("value", "expected"), [(Decimal("1E-7"), "1E-7"), (3, "3"), ("2.5e-06", "0.0000025"), (" .5 ", "0.5")]
)
def test_decimal_is_read_from_numbers_and_their_texts(value: object, expected: str):
    assert decimal_of(value) == Decimal(expected)


@pytest.mark.parametrize("value", [True, None, "", "free", "1,5", "nan", {}, []])
def test_decimal_is_read_from_nothing_else(value: object):
    with pytest.raises(RateError, match="is not a number"):
        decimal_of(value)


def test_daily_window_is_one_window_of_each_day():
    # 06:00-10:00 each day: Monday 360 to 600 minutes, and so on by 1,440.
    found = week_windows([WindowRule((clock_window("06:00-10:00"),))])
    assert found == tuple((day * DAY + 6 * HOUR, day * DAY + 10 * HOUR) for day in range(7))


def test_daily_window_past_midnight_is_cut_where_the_week_ends():
    # 16:30-00:30: Sunday's last half hour lies on Monday, at the beginning of the week.
    found = week_windows([WindowRule((clock_window("16:30-00:30"),))])
    assert found[0] == (0, 30)
    assert found[1:7] == tuple((day * DAY + 990, (day + 1) * DAY + 30) for day in range(6))
    assert found[7] == (6 * DAY + 990, WEEK)
    # Seven windows of eight hours.
    assert sum(end - start for start, end in found) == 7 * 8 * HOUR


def test_windows_that_touch_or_overlap_are_one():
    clocks = tuple(clock_window(text) for text in ("01:00-02:00", "02:00-03:00", "02:30-04:00"))
    assert week_windows([WindowRule(clocks)])[0] == (HOUR, 4 * HOUR)


@pytest.mark.parametrize("texts", [("00:00-00:00",), ("00:00-24:00",), ("12:00-00:00", "00:00-12:00")])
def test_whole_week_is_no_window(texts: tuple[str, ...]):
    assert week_windows([WindowRule(tuple(clock_window(text) for text in texts))]) == ALL_WEEK


def test_weekday_rules_unite_to_disjoint_windows():
    """LiteLLM's rules for DeepSeek: nights on weekdays, and all of the weekend."""
    nights = tuple(clock_window(text) for text in ("00:00-01:00", "04:00-06:00", "10:00-00:00"))
    weekend = (clock_window("00:00-00:00"),)
    found = week_windows([WindowRule(nights, weekdays_of([1, 2, 3, 4, 5])), WindowRule(weekend, weekdays_of([6, 7]))])
    monday = [(0, 60), (240, 360), (600, DAY + 60)]
    assert list(found[:3]) == monday
    # Friday 10:00 runs into the weekend: from 4 x 1,440 + 600 to the end of the week.
    assert found[-1] == (4 * DAY + 600, WEEK)
    # A weekday has 1 + 2 + 14 hours, a weekend day 24.
    assert sum(end - start for start, end in found) == (5 * 17 + 2 * 24) * HOUR


def test_weekdays_are_those_of_the_calendar_of_the_zone():
    """In Shanghai (UTC+8) Saturday begins on Friday 16:00 UTC and Sunday ends on Sunday 16:00 UTC."""
    rule = WindowRule((clock_window("00:00-00:00"),), weekdays_of([6, 7]), offset_minutes_of("Asia/Shanghai"))
    assert week_windows([rule]) == ((4 * DAY + 16 * HOUR, 6 * DAY + 16 * HOUR),)


def test_weekday_that_wraps_the_week_is_two_windows():
    """In Auckland's winter offset (+12 h) Monday begins on Sunday 12:00 UTC."""
    rule = WindowRule((clock_window("00:00-00:00"),), weekdays_of("Monday"), 12 * HOUR)
    assert week_windows([rule]) == ((0, 12 * HOUR), (6 * DAY + 12 * HOUR, WEEK))


@pytest.mark.parametrize("text", ["", "1-2", "25:00-01:00", "10:60-11:00", "10:00", "10:00-11:00-12:00"])
def test_clock_window_refuses_another_form(text: str):
    with pytest.raises(RateError, match="HH:MM-HH:MM"):
        clock_window(text)


@pytest.mark.parametrize("value", [[], [0], [8], ["noday"], [True, 9], None])
def test_weekdays_refuse_another_form(value: object):
    with pytest.raises(RateError, match="weekdays"):
        weekdays_of(value)


def test_zone_with_summer_time_has_no_weekly_window():
    with pytest.raises(RateError, match="summer time"):
        offset_minutes_of("Europe/Berlin")
    with pytest.raises(RateError, match="unknown"):
        offset_minutes_of("Mars/Base")


def test_bands_end_where_the_next_price_begins():
    assert context_bands([0, 200, 100]) == {0: 100, 100: 200, 200: None}
    assert context_bands([0], [100, 200]) == {0: 100}
    assert context_bands([100], [0, 100]) == {100: None}


def _options(**given: object) -> CatalogueOptions:
    return CatalogueOptions.model_validate({"name": "a", "kind": "litellm_prices", "path": "a.json", **given})


def test_version_is_dated_by_its_name_or_by_the_configuration():
    assert _options().version_date("feeds/2025-02-06.json") is None
    assert _options(known_from="2025-01-01").version_date("a.json") == date(2025, 1, 1)
    by_name = _options(known_from_pattern=r"(\d{4}-\d\d-\d\d)\.json")
    assert by_name.version_date("feeds/2025-02-06.json.gz") == date(2025, 2, 6)


@pytest.mark.parametrize("name", ["prices.json", "2025-02-31.json"])
def test_version_whose_name_holds_no_date_is_refused(name: str):
    with pytest.raises(PermanentSourceError, match="holds no date"):
        _options(known_from_pattern=r"(.{10})\.json").version_date(name)


@pytest.mark.parametrize("pattern", [r"\d+", "(", r"(\d+)-(\d+)"])
def test_version_pattern_has_one_group(pattern: str):
    with pytest.raises(ValidationError, match="one group"):
        _options(known_from_pattern=pattern)


def test_where_a_catalogue_is_does_not_decide_how_it_is_read():
    moved = _options(path="/elsewhere/b.json")
    assert _options().reading_sha256() == moved.reading_sha256()
    fetched = CatalogueOptions.model_validate({"name": "a", "kind": "litellm_prices", "url": "https://a.test/b"})
    assert fetched.reading_sha256() == moved.reading_sha256()
    assert _options(known_from="2025-01-01").reading_sha256() != moved.reading_sha256()
