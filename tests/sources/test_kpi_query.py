"""KPI scores by SQL: windows on PostgreSQL, a whole answer on SQLite, types, refusals."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dagster_project.sources import discover
from dagster_project.sources._connector import PullContext
from dagster_project.sources.kpi_query import KpiQueryOptions
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source
from tests.sources.postgres import PASSWORD, Postgres

KIND = "kpi_query"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
QUERY = """
    select closed_at, ticket_id, satisfaction, is_resolved from tickets
    where closed_at >= :window_start and closed_at < :window_end
    order by closed_at, ticket_id
"""
COLUMNS = {"scored_at": "closed_at", "use_case_instance_id": "ticket_id", "score": "satisfaction"}
CONSTANTS = {"kpi_name": "csat", "use_case_id": "support_chat"}


@pytest.fixture
def tickets(postgres: Postgres) -> Iterator[psycopg.Connection]:
    with postgres.connect() as connection:
        connection.execute("drop table if exists tickets cascade")
        connection.execute(
            "create table tickets (ticket_id text primary key, closed_at timestamptz, satisfaction numeric(4, 2), "
            "is_resolved boolean)"
        )
        yield connection


def _options(postgres: Postgres, **options: object) -> KpiQueryOptions:
    given = {
        "name": "crm", "kind": KIND, "database": {"url": postgres.url(), "attempt_count": 1}, "query": QUERY,
        "start_date": "2026-11-18", "columns": COLUMNS, "constants": CONSTANTS, **options,
    }  # fmt: skip
    return KpiQueryOptions.model_validate(given)


def _pull(folder: Path, options: KpiQueryOptions, now: datetime = NOW) -> list[Landing | SourceFailure]:
    return pull_source(LandingZone(folder / "landing"), discover()[KIND], options, now=now)


def _rows(folder: Path) -> dict[str, dict[str, object]]:
    landings = LandingZone(folder / "landing").current(KIND)
    tables = [pq.read_table(file.path, partitioning=None) for item in landings for file in item.files]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return {row["use_case_instance_id"]: row for row in rows}


def _new(results: list[Landing | SourceFailure], now: datetime) -> list[str]:
    assert all(isinstance(item, Landing) for item in results), results
    return [item.input_uri.partition("#")[2] for item in results if isinstance(item, Landing) and item.landed_at == now]


def test_a_query_is_asked_by_utc_day_whatever_zone_the_server_is_in(
    postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path
):
    # Midnight of UTC is 19:00 of the day before in the server's own zone, New York.
    tickets.execute(
        "insert into tickets values ('last', '2026-11-18 23:59:59.999999+00', 4.25, true), "
        "('first', '2026-11-19 00:00:00+00', 3, false), ('before', '2026-11-17 23:59:59+00', 1, false)"
    )
    results = _pull(tmp_path, _options(postgres))
    assert [(item.input_uri.partition("#")[2], item.rows_landed) for item in results if isinstance(item, Landing)] == [
        ("2026-11-18", 1), ("2026-11-19", 1), ("2026-11-20", 0),
    ]  # fmt: skip
    rows = _rows(tmp_path)
    assert (rows["last"]["score"], rows["first"]["score"]) == (4.25, 3.0)
    assert rows["first"]["scored_at"] == datetime(2026, 11, 19, tzinfo=UTC)
    assert (rows["last"]["kpi_name"], rows["last"]["provenance"]) == ("csat", "measured")
    assert PASSWORD not in results[0].input_uri


def test_late_changed_and_deleted_scores_are_found_within_the_lookback(
    postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path
):
    tickets.execute(
        "insert into tickets values ('kept', '2026-11-18 09:00+00', 4, true), "
        "('gone', '2026-11-18 10:00+00', 2, true), ('other', '2026-11-19 10:00+00', 5, true)"
    )
    _pull(tmp_path, _options(postgres))
    tickets.execute("delete from tickets where ticket_id = 'gone'")
    tickets.execute("update tickets set satisfaction = 1 where ticket_id = 'kept'")
    tickets.execute("insert into tickets values ('late', '2026-11-18 08:00+00', 3, true)")
    later = NOW + timedelta(hours=1)
    assert _new(_pull(tmp_path, _options(postgres), later), later) == ["2026-11-18"]
    assert {name: row["score"] for name, row in _rows(tmp_path).items()} == {"kept": 1.0, "late": 3.0, "other": 5.0}


def test_true_and_false_are_one_and_zero(postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path):
    tickets.execute(
        "insert into tickets values ('yes', '2026-11-18 09:00+00', null, true), "
        "('no', '2026-11-18 10:00+00', null, false), ('unknown', '2026-11-18 11:00+00', null, null)"
    )
    results = _pull(tmp_path, _options(postgres, columns={**COLUMNS, "score": "is_resolved"}))
    assert {name: row["score"] for name, row in _rows(tmp_path).items()} == {"yes": 1.0, "no": 0.0}
    first = results[0]
    assert isinstance(first, Landing)
    # Unknown is not zero: the row without a verdict is kept as rejected.
    assert (first.rows_landed, first.rows_rejected) == (2, 1)


def test_a_query_without_a_window_is_one_input_that_is_asked_each_time(tmp_path: Path):
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        connection.execute("create table levels (day text, open_count integer)")
        connection.execute("insert into levels values ('2026-11-18', 420), ('2026-11-19', 400)")
    options = KpiQueryOptions.model_validate(
        {
            "name": "crm", "kind": KIND, "database": {"url": f"sqlite:///{tmp_path}/crm.db"},
            "query": "select day || 'T23:59:59Z' as at, open_count from levels order by day",
            "columns": {"scored_at": "at", "score": "open_count"},
            "constants": {"kpi_name": "open_tickets", "use_case_id": "support_chat"},
        }
    )  # fmt: skip
    [landing] = _pull(tmp_path, options)
    assert isinstance(landing, Landing)
    assert (landing.input_uri.partition("#")[2], landing.rows_landed) == ("all", 2)
    again = NOW + timedelta(hours=1)
    assert _new(_pull(tmp_path, options, again), again) == []
    with sqlite3.connect(tmp_path / "crm.db") as connection:
        connection.execute("insert into levels values ('2026-11-20', 380)")
    changed = NOW + timedelta(days=300)
    assert _new(_pull(tmp_path, options, changed), changed) == ["all"]


def test_a_query_that_writes_is_refused_by_the_database(
    postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path
):
    tickets.execute("insert into tickets values ('a', '2026-11-18 09:00+00', 4, true)")
    tickets.execute(
        "create or replace function emptied() returns setof tickets language sql as 'delete from tickets returning *'"
    )
    query = "select closed_at, ticket_id, satisfaction from emptied()"
    [failure] = _pull(tmp_path, _options(postgres, query=query, start_date=None))
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "cannot execute DELETE in a read-only transaction" in failure.message
    assert tickets.execute("select count(*) from tickets").fetchone() == (1,)


def test_a_column_that_the_query_lacks_is_named(postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path):
    tickets.execute("insert into tickets values ('a', '2026-11-18 09:00+00', 4, true)")
    failure = _pull(tmp_path, _options(postgres, columns={**COLUMNS, "score": "rating"}))[0]
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "no column 'rating', it has 'closed_at', 'ticket_id', 'satisfaction', 'is_resolved'" in failure.message


def test_an_unknown_table_is_permanent_and_said_in_the_databases_words(
    postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path
):
    query = QUERY.replace("tickets", "no_such_table")
    failure = _pull(tmp_path, _options(postgres, query=query))[0]
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert 'relation "no_such_table" does not exist' in failure.message


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path):
    options = KpiQueryOptions.model_validate(
        {"name": "crm", "kind": KIND, "database": {"url": "oracle+cx_oracle://u:p4ss@h/d"},
         "query": "select 1 from dual", "columns": {"scored_at": "at", "score": "x"}, "constants": CONSTANTS}
    )  # fmt: skip
    [failure] = _pull(tmp_path, options)
    assert isinstance(failure, SourceFailure)
    assert "driver for 'oracle+cx_oracle'" in failure.message
    assert "p4ss" not in failure.message


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"query": "select 1 where at >= :window_start"}, "names one end of its window"),
        ({"query": "select 1"}, "'start_date' belongs to a query that names"),
        ({"start_date": None}, "'start_date' belongs to a query that names"),
        ({"columns": {"score": "x"}}, "scored_at must be mapped"),
    ],
)
def test_options_that_contradict_each_other_are_refused(postgres: Postgres, change: dict[str, object], problem: str):
    with pytest.raises(ValidationError, match=problem):
        _options(postgres, **change)


def test_check_runs_the_query(postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path):
    check = discover()[KIND].check
    assert check is not None
    address = f"postgresql://127.0.0.1:{postgres.port}/postgres"
    assert check(_options(postgres), PullContext(NOW, tmp_path)) == f"{address}: the query runs, without a row today"
    tickets.execute("insert into tickets values ('a', '2026-11-20 09:00+00', 4, true)")
    assert check(_options(postgres), PullContext(NOW, tmp_path)) == f"{address}: the query runs, with rows today"
    # At midnight the day that begins is tried, and not everything: the row of the day before is not looked at.
    for midnight, words in [("2026-11-20", "with rows"), ("2026-11-21", "without a row")]:
        at = datetime.fromisoformat(midnight).replace(tzinfo=UTC)
        assert check(_options(postgres), PullContext(at, tmp_path)) == f"{address}: the query runs, {words} today"


def test_types_that_json_does_not_know_become_text_and_stop_nothing(
    postgres: Postgres, tickets: psycopg.Connection, tmp_path: Path
):
    tickets.execute("insert into tickets values ('a', '2026-11-18 09:00+00', 4, true)")
    query = QUERY.replace(
        "is_resolved from",
        "inet '10.0.0.7' as ticket_host, array[timestamptz '2026-11-18 00:00+00'] as times, "
        "jsonb '{\"n\": 123456789012345678901234567890}' as said, int4range(1, 5) as span from",
    )
    columns = {**COLUMNS, "use_case_instance_id": "ticket_host", "attributes_json": "said", "use_case_version": "times"}
    results = _pull(tmp_path, _options(postgres, query=query, columns=columns))
    assert all(isinstance(item, Landing) for item in results), results
    [row] = _rows(tmp_path).values()
    assert (row["use_case_instance_id"], row["score"]) == ("10.0.0.7", 4.0)
    assert row["use_case_version"] == '["2026-11-18T00:00:00+00:00"]'
