"""What changed since it was built, and which days that touches, on a warehouse of a few rows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project.sources import discover
from dagster_project.sources._connector import (
    Connector,
)
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Calendar, Window
from dagster_project.warehouse.landing import Landing, LandingFile

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 8)
CALENDAR = Calendar(FIRST, LAST, datetime(2026, 3, 9, tzinfo=UTC))
NOW = datetime(2026, 3, 9, tzinfo=UTC)


def _day(day: int) -> date:
    return date(2026, 3, day)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        for schema in ("raw", "ops", "intermediate", "marts"):
            connection.execute(f"create schema {schema}")
        yield connection


def _connector(kind: str) -> Connector:
    return discover()[kind]


def _landing(kind: str, days: dict[int, str]) -> Landing:
    """A landing with one file per day; the text stands for the file's content."""
    connector = _connector(kind)
    files = tuple(LandingFile(Path(f"{sha}.parquet"), _day(day), 1, 1, sha) for day, sha in days.items())
    return Landing(
        landing_id="id",
        source_name="feed",
        kind=kind,
        feed=connector.feed,
        entity=connector.entities[0].name,
        input_uri="a",
        input_sha256="",
        input_bytes=1,
        input_stamp="",
        reading_sha256="",
        landed_at=NOW,
        rows_read=1,
        rows_landed=1,
        rows_rejected=0,
        files=files,
        rejects_file=None,
        min_event_at=None,
        max_event_at=None,
        tokens_in=None,
        tokens_out=None,
        amounts={},
        supersedes=None,
    )


def _note(con: duckdb.DuckDBPyConnection, kind: str, days: dict[int, str]) -> list[int]:
    found = restatement.note_landings(con, _connector(kind), [_landing(kind, days)], calendar=CALENDAR, now=NOW)
    return [day.day for day in found]


# ---- files


@pytest.mark.parametrize("kind", ["table_files", "otlp_files", "focus_files"])
def test_new_changed_and_vanished_files_request_their_days(con: duckdb.DuckDBPyConnection, kind: str):
    assert _note(con, kind, {3: "a", 4: "b", 6: "c"}) == [3, 4, 6]
    assert _note(con, kind, {3: "a", 4: "b", 6: "c"}) == []
    assert _note(con, kind, {3: "a", 4: "B", 7: "d"}) == [4, 6, 7]
    assert restatement.pending_days(con) == {_day(day) for day in (3, 4, 6, 7)}


def test_what_is_deployed_holds_for_the_days_after_it_too(con: duckdb.DuckDBPyConnection):
    assert _note(con, "inventory_files", {4: "a"}) == [4, 5, 6, 7, 8]
    assert _note(con, "inventory_files", {4: "a", 8: "b"}) == [8]
    assert _note(con, "inventory_files", {8: "b"}) == [4, 5, 6, 7, 8]
    assert _note(con, "prometheus_gpus", {4: "a"}) == [4]


def _allow(
    con: duckdb.DuckDBPyConnection,
    period_type: str = "month",
    valid_from: str = "1970-01-01",
    valid_to: str = "9999-12-31",
    *,
    allowance_units: int = 1_500,
) -> None:
    """The one allowance that there is, of mill-large."""
    con.execute(
        """
        create or replace table intermediate.int_pricing__allowances as
        select 'mill' as reported_provider_name, 'mill-large' as reported_model_name, 'standard' as service_tier,
            '' as region_key, 'free' as allowance_key, $units as allowance_units, $period as period_type,
            cast($first as timestamptz) as valid_from_at, cast($last as timestamptz) as valid_to_at
        """,
        {"units": allowance_units, "period": period_type, "first": valid_from, "last": valid_to},
    )


@pytest.mark.parametrize(
    ("period_type", "valid_from", "valid_to", "requested"),
    [
        # The call of the 4th takes free units from those of the 5th to the last day that exists, the 8th.
        ("month", "1970-01-01", "9999-12-31", [4, 5, 6, 7, 8]),
        ("month", "2026-03-20", "9999-12-31", [4, 5, 6, 7, 8]),
        ("day", "1970-01-01", "9999-12-31", [4]),
        ("month", "2026-04-01", "9999-12-31", [4]),
        ("month", "1970-01-01", "2026-03-04", [4]),
    ],
)
def test_late_call_requests_the_rest_of_a_months_allowance(
    con: duckdb.DuckDBPyConnection, period_type: str, valid_from: str, valid_to: str, requested: list[int]
):
    assert _note(con, "table_files", {3: "a"}) == [3]
    _allow(con, period_type, valid_from, valid_to)
    assert _note(con, "table_files", {3: "a", 4: "late"}) == requested


def test_allowance_does_not_spread_what_is_no_call(con: duckdb.DuckDBPyConnection):
    _allow(con)
    assert _note(con, "focus_files", {4: "a"}) == [4]


def test_allowance_of_a_month_ends_with_it(con: duckdb.DuckDBPyConnection):
    _allow(con)
    calendar = Calendar(FIRST, date(2026, 4, 9), NOW)
    landing = _landing("table_files", {30: "a"})
    days = restatement.note_landings(con, _connector("table_files"), [landing], calendar=calendar, now=NOW)
    assert days == [date(2026, 3, 30), date(2026, 3, 31)]


def test_files_of_another_kind_are_left_alone(con: duckdb.DuckDBPyConnection):
    assert _note(con, "table_files", {3: "a"}) == [3]
    assert _note(con, "otlp_files", {4: "b"}) == [4]
    assert _note(con, "table_files", {3: "a"}) == []


def test_stray_records_request_the_nearest_day_that_exists(con: duckdb.DuckDBPyConnection):
    landing = _landing("table_files", {3: "a"})
    stray = replace(landing.files[0], event_date=date(1970, 1, 21))
    far = replace(landing.files[0], event_date=date(2099, 1, 1))
    connector = _connector("table_files")
    days = restatement.note_landings(con, connector, [replace(landing, files=(stray, far))], calendar=CALENDAR, now=NOW)
    assert days == [FIRST, LAST]


def test_failure_leaves_memory_and_requests_as_they_were(con: duckdb.DuckDBPyConnection):
    _note(con, "table_files", {3: "a"})
    before = con.execute("from ops.seen_files").fetchall()
    con.execute("drop table ops.restatements")
    con.execute("create table ops.restatements (event_date date)")
    with pytest.raises(duckdb.Error):
        _note(con, "table_files", {3: "a", 4: "b"})
    assert con.execute("from ops.seen_files").fetchall() == before


# ---- scores


@pytest.fixture
def scored(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Instance r-2 began on the 2nd; the score of the 7th that the ledger holds is r-3's, of the 3rd."""
    con.execute(
        """
        create table marts.fct_use_case_instances as
        select 'support' as use_case_id, 'r-' || day as use_case_instance_id, make_date(2026, 3, day) as started_date
        from range(2, 9) as days(day)
        """
    )
    con.execute(
        "create table marts.fct_kpi_scores as select 'support' as use_case_id, 'r-3' as use_case_instance_id, "
        "date '2026-03-07' as event_date"
    )
    con.execute(
        "create table raw.raw_kpi_files__scores as select 'support' as use_case_id, 'r-2' as use_case_instance_id, "
        "date '2026-03-08' as event_date"
    )
    return con


def test_late_score_requests_the_day_on_which_its_instance_began(scored: duckdb.DuckDBPyConnection):
    assert _note(scored, "kpi_files", {8: "a"}) == [2, 8]


def test_withdrawn_score_requests_the_day_on_which_its_instance_began(scored: duckdb.DuckDBPyConnection):
    assert _note(scored, "kpi_files", {7: "a"}) == [3, 7]


# ---- prices

Card = tuple[str, str, str | None]
LARGE: Card = ("large", "2026-01-01", None)


@pytest.fixture
def called(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Calls of one model every day, and of another, which has no card yet, on the 4th."""
    con.execute(
        """
        create table intermediate.int_usage__models_reported as
        select
            make_date(2026, 3, day) as event_date, 'mill' as provider_name, 'mill-large' as model_name,
            'standard' as service_tier, cast(null as varchar) as region_id
        from range(2, 9) as days(day)
        union all
        select date '2026-03-04', 'mill', 'mill-secret', 'standard', 'EU'
        """
    )
    _allow(con)
    con.execute("delete from intermediate.int_pricing__allowances")
    return con


def _cards(
    con: duckdb.DuckDBPyConnection, *cards: Card, found: str | None = None, stated: str = "changed"
) -> list[int]:
    """Note these cards, (key, first day, last day exclusive), of the model; the days that it requests."""
    con.execute(
        """
        create or replace table intermediate.int_pricing__rate_cards (
            reported_provider_name varchar, reported_model_name varchar, service_tier varchar, region_key varchar,
            context_over_tokens bigint, context_up_to_tokens bigint, week_minute_from integer, week_minute_to integer,
            rate_card_key varchar, valid_from_at timestamptz, valid_to_at timestamptz
        )
        """
    )
    rows = [("mill-large", "", *card) for card in cards]
    rows += [("mill-secret", "eu", found, "2026-01-01", None)] if found else []
    for model, region, key, valid_from, valid_to in rows:
        con.execute(
            "insert into intermediate.int_pricing__rate_cards values "
            "('mill', ?, 'standard', ?, -1, 1000, 0, 10080, ?, ?, ?)",
            [model, region, key, valid_from, valid_to or "9999-12-31"],
        )
    return [day.day for day in restatement.note_rate_cards(con, stated, calendar=CALENDAR, now=NOW)]


def test_prices_request_nothing_before_a_call_was_ever_priced(con: duckdb.DuckDBPyConnection):
    assert restatement.note_rate_cards(con, "a", calendar=CALENDAR, now=NOW) == []
    assert restatement.is_priced_from(con, "a")
    assert not restatement.is_priced_from(con, "b")


@pytest.mark.parametrize(
    ("cards", "days"),
    [
        # Nothing changed.
        ([LARGE], []),
        # A price that was wrong all along touches every day with a call of its model.
        ([("dearer", "2026-01-01", None)], [2, 3, 4, 5, 6, 7, 8]),
        # A price that ends with the 6th, and its successor: only from the 7th on anything costs otherwise.
        ([("large", "2026-01-01", "2026-03-07"), ("dearer", "2026-03-07", None)], [7, 8]),
        # A price that holds for one day.
        (
            [
                ("large", "2026-01-01", "2026-03-05"),
                ("dearer", "2026-03-05", "2026-03-06"),
                ("large", "2026-03-06", None),
            ],
            [5],
        ),
        # A price that changes at noon of the 5th, and is what it was at midnight.
        (
            [
                ("large", "2026-01-01", "2026-03-05 12:00"),
                ("dearer", "2026-03-05 12:00", "2026-03-06"),
                ("large", "2026-03-06", None),
            ],
            [5],
        ),
        # The same price from two statements, one after the other.
        ([("large", "2026-01-01", "2026-03-05"), ("large", "2026-03-05", None)], []),
        # A price that begins later than it did: before it there is none.
        ([("large", "2026-03-04", None)], [2, 3]),
        # No price at all.
        ([], [2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_changed_price_requests_the_days_on_which_it_prices_a_call(
    called: duckdb.DuckDBPyConnection, cards: list[Card], days: list[int]
):
    _cards(called, LARGE)
    called.execute("delete from ops.restatements")
    assert _cards(called, *cards) == days
    assert sorted(day.day for day in restatement.pending_days(called)) == days
    assert _cards(called, *cards) == []


@pytest.mark.parametrize(
    ("allowance", "days"),
    [
        # The same allowance.
        ({}, []),
        # It grants more: on any day of its calls more may be free.
        ({"allowance_units": 2_000}, [2, 3, 4, 5, 6, 7, 8]),
        # It ends with the 6th: the 7th and the 8th pay.
        ({"valid_to": "2026-03-07"}, [7, 8]),
        # It begins with the 7th: from the 2nd to the 6th all pay, so that more is left from the 7th on.
        ({"valid_from": "2026-03-07"}, [2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_changed_allowance_requests_the_days_whose_calls_it_frees(
    called: duckdb.DuckDBPyConnection, allowance: dict[str, Any], days: list[int]
):
    _allow(called)
    assert _cards(called, LARGE) == [2, 3, 4, 5, 6, 7, 8]
    _allow(called, **allowance)
    assert _cards(called, LARGE) == days


def test_call_without_a_price_is_priced_by_a_new_one(called: duckdb.DuckDBPyConnection):
    _cards(called, LARGE)
    assert _cards(called, LARGE, found="found") == [4]


def test_models_that_the_ledger_holds_for_the_first_time_are_no_change(called: duckdb.DuckDBPyConnection):
    called.execute("delete from intermediate.int_usage__models_reported where model_name = 'mill-secret'")
    _cards(called, LARGE)
    called.execute(
        "insert into intermediate.int_usage__models_reported values "
        "(date '2026-03-04', 'mill', 'mill-secret', 'standard', 'EU')"
    )
    called.execute(
        "insert into intermediate.int_pricing__rate_cards values "
        "('mill', 'mill-secret', 'standard', 'eu', -1, 1000, 0, 10080, 'found', '2026-01-01', '9999-12-31')"
    )
    restatement.note_new_models(called)
    assert _cards(called, LARGE, found="found") == []
    assert _cards(called, LARGE, found="other") == [4]


def test_failure_leaves_the_priced_cards_as_they_were(called: duckdb.DuckDBPyConnection):
    _cards(called, LARGE)
    called.execute("drop table ops.restatements")
    called.execute("create table ops.restatements (event_date date)")
    with pytest.raises(duckdb.Error):
        _cards(called, ("dearer", "2026-01-01", None), stated="later")
    assert called.execute("select distinct rate_card_key from ops.seen_rate_cards").fetchall() == [("large",)]
    assert not restatement.is_priced_from(called, "later")


# ---- reference data


def test_reference_file_that_changes_comes_or_goes_requests_every_day(con: duckdb.DuckDBPyConnection, tmp_path: Path):
    def note() -> list[date]:
        return restatement.note_reference(con, tmp_path, calendar=CALENDAR, now=NOW)

    (tmp_path / "seed_kpis.csv").write_text("kpi_name\n", encoding="utf-8")
    assert note() == []
    assert note() == []
    (tmp_path / "seed_kpis.csv").write_text("kpi_name\nresolved\n", encoding="utf-8")
    assert note() == list(CALENDAR.days())
    (tmp_path / "seed_budgets.csv").write_text("budget_id\n", encoding="utf-8")
    assert note() == list(CALENDAR.days())
    (tmp_path / "seed_budgets.csv").unlink()
    assert note() == list(CALENDAR.days())
    assert note() == []


# ---- days and requests


def test_every_day_of_the_calendar_is_requested_once(con: duckdb.DuckDBPyConnection):
    assert restatement.note_days(con, calendar=CALENDAR, now=NOW) == list(CALENDAR.days())
    assert restatement.note_days(con, calendar=CALENDAR, now=NOW) == []
    longer = replace(CALENDAR, last_date=_day(9))
    assert restatement.note_days(con, calendar=longer, now=NOW) == [_day(9)]


def test_pending_ranges_come_latest_first(con: duckdb.DuckDBPyConnection):
    _note(con, "table_files", {2: "a", 3: "b", 5: "c", 8: "d"})
    assert [(first.day, last.day) for first, last in restatement.pending_ranges(con)] == [(8, 8), (5, 5), (2, 3)]


def test_days_of_a_build_that_was_not_published_are_built_again_in_one_range(con: duckdb.DuckDBPyConnection):
    _note(con, "table_files", {2: "a", 5: "b", 7: "c"})
    restatement.note_attempt(con, Window(_day(7), _day(7)), now=NOW)
    assert restatement.pending_ranges(con) == [(_day(2), _day(7))]
    restatement.close_requests(con, Window(_day(2), _day(7)), requested_until=NOW, built_at=NOW)
    assert restatement.pending_ranges(con) == []


def test_closing_leaves_days_outside_and_requests_made_meanwhile(con: duckdb.DuckDBPyConnection):
    _note(con, "table_files", {3: "a", 4: "b", 5: "c"})
    later = NOW + timedelta(minutes=5)
    connector = _connector("otlp_files")
    restatement.note_landings(con, connector, [_landing("otlp_files", {4: "x"})], calendar=CALENDAR, now=later)
    window = Window(_day(3), _day(4))
    restatement.close_requests(con, window, requested_until=NOW, built_at=later)
    assert restatement.pending_days(con) == {_day(4), _day(5)}
    assert restatement.published_days(con) == {_day(3): later, _day(4): later}


def test_latest_request_is_the_newest_open_one_of_the_range(con: duckdb.DuckDBPyConnection):
    connector = _connector("otlp_files")
    _note(con, "table_files", {3: "a", 4: "b"})
    later = NOW + timedelta(minutes=5)
    restatement.note_landings(con, connector, [_landing("otlp_files", {4: "x"})], calendar=CALENDAR, now=later)
    assert restatement.latest_request(con, _day(3), _day(3)) == NOW
    assert restatement.latest_request(con, _day(3), _day(4)) == later
    restatement.close_requests(con, Window(_day(3), _day(3)), requested_until=NOW, built_at=NOW)
    assert restatement.latest_request(con, _day(3), _day(4)) == later


def test_days_of_a_build_that_did_not_end_are_unfinished_until_they_are_published(con: duckdb.DuckDBPyConnection):
    _note(con, "table_files", {3: "a", 5: "b"})
    restatement.note_attempt(con, Window(_day(3), _day(3)), now=NOW)
    assert restatement.unfinished_days(con, outside=Window(_day(5), _day(5))) == [_day(3)]
    assert restatement.unfinished_days(con, outside=Window(_day(3), _day(3))) == []
    restatement.close_requests(con, Window(_day(3), _day(3)), requested_until=NOW, built_at=NOW)
    assert restatement.unfinished_days(con, outside=Window(_day(5), _day(5))) == []
