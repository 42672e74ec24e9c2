"""The record of judgements keeps everything and repeats nothing."""

from dataclasses import replace
from datetime import UTC, date, datetime

import duckdb
import pytest

from dagster_project.gates.gate import Gate, GateRun, Verdict, result_of
from dagster_project.gates.results import record

GATE = Gate(
    stage="marts",
    subject="fct_calls",
    aspect="cost_usd",
    predicate="conserved",
    rule="Nothing is lost.",
    why="It's the ledger.",
    tool="sql",
)
RUN = GateRun(run_id="run-1", checked_at=datetime(2026, 7, 2, 1, 2, 3, tzinfo=UTC))


@pytest.fixture
def con():
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def test_record_creates_the_table_and_writes_every_column(con: duckdb.DuckDBPyConnection):
    run = replace(RUN, window_start_date=date(2026, 7, 1), window_end_date=date(2026, 7, 2))
    assert record(con, [result_of(GATE, Verdict(3, 1, [{"note": "a 'quoted' ü"}]), run)]) == 1
    assert con.execute("select * from ops.gate_results").fetchall() == [
        (
            "run-1", "marts__fct_calls_cost_usd_conserved", "marts", "fct_calls", "sql", "block", False, 3, 1,
            "Nothing is lost.", "It's the ledger.", '[{"note": "a \'quoted\' ü"}]',
            date(2026, 7, 1), date(2026, 7, 2), datetime(2026, 7, 2, 1, 2, 3, tzinfo=UTC),
        )
    ]  # fmt: skip


def test_record_without_results_makes_an_empty_table(con: duckdb.DuckDBPyConnection):
    assert record(con, []) == 0
    assert con.execute("select count(*) from ops.gate_results").fetchone() == (0,)


def test_record_keeps_earlier_results_and_adds_none_twice(con: duckdb.DuckDBPyConnection):
    first = result_of(GATE, Verdict(3, 0), RUN)
    other_window = result_of(GATE, Verdict(3, 0), replace(RUN, window_start_date=date(2026, 7, 1)))
    later = result_of(GATE, Verdict(3, 1), replace(RUN, run_id="run-2"))
    assert record(con, [first, first]) == 1
    assert record(con, [first, other_window, later]) == 2
    assert con.execute("select run_id, count(*) from ops.gate_results group by 1 order by 1").fetchall() == [
        ("run-1", 2), ("run-2", 1),
    ]  # fmt: skip


def test_record_joins_the_callers_transaction(con: duckdb.DuckDBPyConnection):
    record(con, [])
    con.execute("begin")
    record(con, [result_of(GATE, Verdict(3, 0), RUN)])
    con.execute("rollback")
    assert con.execute("select count(*) from ops.gate_results").fetchone() == (0,)


def test_record_holds_results_in_the_hundreds(con: duckdb.DuckDBPyConnection):
    results = [result_of(GATE, Verdict(1, 0), replace(RUN, run_id=f"run-{number}")) for number in range(400)]
    assert record(con, results) == 400
