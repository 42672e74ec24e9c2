"""What changed since it was built, and which days that touches, on a warehouse of a few rows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dagster_project.sources import discover
from dagster_project.sources._connector import (
    Batch,
    Connector,
    InputIdentity,
    InputPull,
    PullContext,
    SourceOptions,
)
from dagster_project.warehouse import restatement
from dagster_project.warehouse.calendar import Calendar, Window
from dagster_project.warehouse.landing import Landing, LandingFile, LandingZone, pull_source
from dagster_project.warehouse.raw import refresh_views

FIRST, LAST = date(2026, 3, 2), date(2026, 3, 8)
CALENDAR = Calendar(FIRST, LAST, datetime(2026, 3, 9, tzinfo=UTC))
NOW = datetime(2026, 3, 9, tzinfo=UTC)

Term = tuple[str, str, str, str, str | None]
INPUT: Term = ("mill", "mill-large", "0.000002", "2026-01-01", None)


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


# ---- rates


@pytest.fixture
def called(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Calls on two models every day: one with a card, one that is priced from its fallback provider's."""
    con.execute(
        """
        create table intermediate.int_usage__models_reported as
        select make_date(2026, 3, day) as event_date, provider_name, model_name
        from range(2, 9) as days(day)
        cross join (values ('mill', 'mill-large'), ('azure', 'gpt-4.1')) as models (provider_name, model_name)
        """
    )
    con.execute(
        """
        create table marts.dim_models as
        from (values
            ('mill', 'mill-large', 'mill', 'mill', 'mill-large'),
            ('azure', 'gpt-4.1', 'azure', 'openai', 'gpt-4.1')
        ) as models (reported_provider_name, model_name, provider_name, rate_provider_name, model_id)
        """
    )
    return con


def _terms(con: duckdb.DuckDBPyConnection, *terms: Term) -> list[int]:
    """Note a contract file of these terms; the days that it requests."""
    connector = _connector("contract_files")
    con.execute("drop table if exists raw.raw_contract_files__terms")
    con.register("no_terms", connector.entity("terms").schema.empty_table())
    con.execute("create table raw.raw_contract_files__terms as from no_terms")
    for provider, model, price, valid_from, valid_to in terms:
        con.execute(
            """
            insert into raw.raw_contract_files__terms by name
            select 'card' as contract_id, ? as provider_name, ? as model_pattern, 'unit_price' as term_type,
                'input' as unit_kind, cast(? as decimal(18, 15)) as unit_price, 'USD' as pricing_currency,
                'standard' as service_tier, cast(? as date) as valid_from, cast(? as date) as valid_to, true as is_list
            """,
            [provider, model, price, valid_from, valid_to],
        )
    return [day.day for day in restatement.note_rates(con, connector, calendar=CALENDAR, now=NOW)]


def test_first_rates_request_nothing_before_a_call_was_ever_built(con: duckdb.DuckDBPyConnection):
    assert _terms(con, INPUT) == []
    assert _terms(con, ("mill", "mill-large", "0.000003", "2026-01-01", None)) == []


def test_unchanged_rates_request_nothing(called: duckdb.DuckDBPyConnection):
    _terms(called, INPUT)
    assert _terms(called, INPUT) == []


@pytest.mark.parametrize(
    ("terms", "days"),
    [
        # A price that was wrong all along touches every day with a call of its model.
        ([("mill", "mill-large", "0.000003", "2026-01-01", None)], [2, 3, 4, 5, 6, 7, 8]),
        # A price that ends on the 7th, and its successor: only from the 7th on anything costs otherwise.
        (
            [
                ("mill", "mill-large", "0.000002", "2026-01-01", "2026-03-07"),
                ("mill", "mill-large", "0.000003", "2026-03-07", None),
            ],
            [7, 8],
        ),
        # A price that begins on the 6th.
        ([INPUT, ("mill", "mill-large", "0.000009", "2026-03-06", None)], [6, 7, 8]),
        # A price that holds for one day.
        ([INPUT, ("mill", "mill-large", "0.000009", "2026-03-05", "2026-03-06")], [5]),
        # A price of a model that nobody calls.
        ([INPUT, ("mill", "mill-small", "0.000001", "2026-01-01", None)], []),
        # An own price of a provider whose models are priced from another's card.
        ([INPUT, ("azure", "gpt-4.1", "0.000001", "2026-03-05", None)], [5, 6, 7, 8]),
        # A pattern, in any case of letters.
        ([INPUT, ("mill", "MILL-L*", "0.000009", "2026-03-08", None)], [8]),
    ],
)
def test_changed_rate_requests_the_days_on_which_it_prices_a_call(
    called: duckdb.DuckDBPyConnection, terms: list[Term], days: list[int]
):
    _terms(called, INPUT)
    assert _terms(called, *terms) == days


def test_withdrawn_rate_requests_its_days(called: duckdb.DuckDBPyConnection):
    later: Term = ("mill", "mill-large", "0.000009", "2026-03-06", None)
    _terms(called, INPUT, later)
    assert _terms(called, INPUT) == [6, 7, 8]


def test_call_without_a_price_is_looked_at_again_on_any_new_rate(called: duckdb.DuckDBPyConnection):
    called.execute(
        "insert into intermediate.int_usage__models_reported values (date '2026-03-04', 'mill', 'mill-secret')"
    )
    _terms(called, INPUT)
    assert _terms(called, INPUT, ("together", "secret", "0.000001", "2026-01-01", None)) == [4]


Price = tuple[str, str, str]


def _catalogue(con: duckdb.DuckDBPyConnection, folder: Path, version: int, *prices: Price) -> list[int]:
    """Pull a version of a catalogue of these prices and note its rates; the days that it requests."""
    listed = discover()["genai_prices"]
    rates, patterns = (listed.entity(name) for name in ("rates", "model_patterns"))

    def batches() -> Iterator[Batch]:
        rows = [
            {"provider_name": provider, "model_id": model, "unit_kind": "input", "usd_per_unit": Decimal(price)}
            for provider, model, price in prices
        ]
        records = pa.RecordBatch.from_pylist(rows, schema=rates.schema)
        yield Batch("rates", records, pa.array(range(len(rows)), pa.int64()), len(rows))
        yield Batch("model_patterns", pa.RecordBatch.from_pylist([], patterns.schema), pa.array([], pa.int64()), 0)

    def read(_: SourceOptions, __: PullContext) -> Iterator[InputPull]:
        yield InputPull(f"package@{version}", "", lambda: InputIdentity(str(version), 1), batches)

    connector = replace(listed, read=read)
    zone = LandingZone(folder / "landing")
    options = SourceOptions(name="list_prices", kind="genai_prices")
    pull_source(zone, connector, options, now=NOW + timedelta(days=version))
    refresh_views(con, zone, [connector])
    return [day.day for day in restatement.note_rates(con, connector, calendar=CALENDAR, now=NOW)]


def test_price_that_a_new_version_of_a_catalogue_drops_requests_the_days_that_it_priced(
    called: duckdb.DuckDBPyConnection, tmp_path: Path
):
    called.execute("delete from intermediate.int_usage__models_reported where event_date <> '2026-03-05'")
    called.execute("insert into intermediate.int_usage__models_reported values ('2026-03-07', 'azure', 'gpt-4.1')")
    large, small = ("mill", "mill-large", "0.000002"), ("openai", "gpt-4.1", "0.000003")
    assert _catalogue(called, tmp_path, 1, large, small) == [5, 7]
    assert _catalogue(called, tmp_path, 2, large, small) == []
    assert _catalogue(called, tmp_path, 3, small) == [5]
    rows = called.execute("select model_id, input_uri from raw.raw_genai_prices__rates").fetchall()
    assert rows == [("gpt-4.1", "package@3")]
    assert _catalogue(called, tmp_path, 1, large, small) == [5]


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
