"""SQL gates: counts are summed, unknown is a violation, nothing judged fails."""

import json
from datetime import UTC, date, datetime

import duckdb
import pytest

from dagster_project.errors import ConfigurationError
from dagster_project.gates.gate import Gate, GateRun
from dagster_project.gates.sql_gate import judge

RUN = GateRun(run_id="run-1", checked_at=datetime(2026, 7, 2, tzinfo=UTC))
GATE = Gate(
    stage="staging",
    subject="usage",
    aspect="rows",
    predicate="conserved",
    rule="Rows in equal rows out plus rejected.",
    why="A lost row is a lost cost.",
    tool="sql",
)

# Rows in against rows out and rejected, per source and day.
CONSERVED = """
    select
        source_name, event_date, in_count, out_count,
        in_count as evaluated_count,
        abs(in_count - out_count - rejected_count) as violation_count
    from boundary
    where event_date >= $start_date
    order by source_name, event_date
"""


@pytest.fixture
def con():
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table boundary as
            select * from (values
                ('agents', date '2026-07-01', 100, 97, 3),
                ('agents', date '2026-07-02', 50, 49, 0),
                ('chatbot', date '2026-06-01', 10, 0, 0)
            ) as t (source_name, event_date, in_count, out_count, rejected_count)
            """
        )
        yield connection


def test_judge_sums_the_rows_and_samples_those_that_do_not_balance(con: duckdb.DuckDBPyConnection):
    params = {"start_date": date(2026, 7, 1), "end_date": date(2026, 8, 1)}
    result = judge(con, GATE, CONSERVED, params, run=RUN)
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (False, 150, 1)
    assert json.loads(result.sample_json) == [
        {
            "source_name": "agents", "event_date": "2026-07-02", "in_count": 50, "out_count": 49,
            "evaluated_count": 50, "violation_count": 1,
        }
    ]  # fmt: skip


def test_judge_passes_when_everything_balances(con: duckdb.DuckDBPyConnection):
    con.execute("update boundary set rejected_count = 1 where event_date = date '2026-07-02'")
    result = judge(con, GATE, CONSERVED, {"start_date": date(2026, 7, 1)}, run=RUN)
    assert (result.is_passed, result.evaluated_count, result.sample_json) == (True, 150, "[]")


def test_judge_fails_when_no_row_was_judged(con: duckdb.DuckDBPyConnection):
    result = judge(con, GATE, CONSERVED, {"start_date": date(2027, 1, 1)}, run=RUN)
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (False, 0, 0)


def test_judge_fails_on_an_aggregate_over_nothing(con: duckdb.DuckDBPyConnection):
    sql = "select sum(in_count) as evaluated_count, sum(0) as violation_count from boundary where false"
    assert not judge(con, GATE, sql, run=RUN).is_passed


def test_judge_takes_an_unknown_violation_count_for_a_violation(con: duckdb.DuckDBPyConnection):
    sql = "select * from (values (10, 0), (5, null), (0, null)) as t (evaluated_count, violation_count)"
    result = judge(con, GATE, sql, run=RUN)
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (False, 15, 6)


def test_judge_uses_the_sample_query_when_there_is_one(con: duckdb.DuckDBPyConnection):
    sample = "select source_name from boundary where event_date = $day"
    sql = "select 1 as evaluated_count, 1 as violation_count"
    result = judge(con, GATE, sql, {"day": date(2026, 6, 1)}, run=RUN, sample_sql=sample)
    assert json.loads(result.sample_json) == [{"source_name": "chatbot"}]


def test_judge_turns_a_refused_query_into_a_failed_result(con: duckdb.DuckDBPyConnection):
    result = judge(con, GATE, "select 1 as evaluated_count, 0 as violation_count from nowhere", run=RUN)
    assert not result.is_passed
    assert "nowhere" in json.loads(result.sample_json)[0]["error"]


def test_judge_refuses_a_query_without_its_counts(con: duckdb.DuckDBPyConnection):
    with pytest.raises(ConfigurationError, match="lacks violation_count"):
        judge(con, GATE, "select 1 as evaluated_count", run=RUN)


def test_judge_refuses_more_than_one_statement(con: duckdb.DuckDBPyConnection):
    with pytest.raises(ConfigurationError, match="found 2 statements"):
        judge(con, GATE, "select 1; select 2", run=RUN)
