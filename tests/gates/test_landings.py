"""Sources that nobody configures any more and inputs that could not be read: shown, and no reason to stop."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import orjson
import pytest

from dagster_project.gates.gate import GateResult, GateRun
from dagster_project.gates.landings import (
    inputs_read,
    judge_inputs,
    judge_lines,
    judge_sources,
    sources_known,
)
from dagster_project.warehouse.raw import LANDINGS_DDL

RUN = GateRun(run_id="run-1", checked_at=datetime(2026, 7, 3, tzinfo=UTC))


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Two inputs of a gateway and one of a vendor that was left, 3 + 4 and 5 rows."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema ops")
        connection.execute(LANDINGS_DDL)
        for source_name, input_uri, rows, day in (
            ("gateway", "a.csv", 3, "2026-07-01"),
            ("gateway", "b.csv", 4, "2026-07-02"),
            ("left", "c.csv", 5, "2026-06-01"),
        ):
            connection.execute(
                "insert into ops.landings (kind, source_name, input_uri, rows_landed_count, landed_at) "
                "values ('table_files', ?, ?, ?, ?)",
                [source_name, input_uri, rows, f"{day} 00:00:00+00"],
            )
        yield connection


def _sample(result: GateResult) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = orjson.loads(result.sample_json)
    return content


def test_gate_passes_when_every_source_is_named(con: duckdb.DuckDBPyConnection):
    result = judge_sources(con, "table_files", {"gateway", "left", "new"}, run=RUN)
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (True, 2, 0)


def test_gate_warns_of_a_source_that_is_not_named_and_says_what_it_landed(con: duckdb.DuckDBPyConnection):
    result = judge_sources(con, "table_files", {"gateway"}, run=RUN)
    assert (result.gate_name, result.severity) == ("raw__table_files_sources_known", "warn")
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (False, 2, 1)
    [left] = _sample(result)
    assert (left["source_name"], left["input_count"], left["row_count"]) == ("left", 1, 5)
    assert str(left["last_landed_at"]).startswith("2026-06-01")


def test_gate_warns_when_no_source_of_the_kind_is_named_any_more(con: duckdb.DuckDBPyConnection):
    result = judge_sources(con, "table_files", set(), run=RUN)
    assert (result.is_passed, result.violation_count) == (False, 2)


def test_gate_over_a_kind_that_landed_nothing_fails(con: duckdb.DuckDBPyConnection):
    assert not judge_sources(con, "otlp_files", {"gateway"}, run=RUN).is_passed


def test_gate_does_not_block():
    assert sources_known("focus_files").severity == "warn"


def test_gate_passes_when_every_input_was_read():
    result = judge_inputs("litellm_prices", 2, [], run=RUN)
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (True, 2, 0)


def test_gate_warns_of_an_input_that_could_not_be_read_and_says_what_stays():
    failure = {"source_name": "prices", "message": "status 500", "last_good_at": datetime(2026, 7, 1, tzinfo=UTC)}
    result = judge_inputs("litellm_prices", 2, [failure], run=RUN)
    assert (result.gate_name, result.severity) == ("raw__litellm_prices_inputs_fresh", "warn")
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (False, 2, 1)
    [shown] = _sample(result)
    assert (shown["message"], str(shown["last_good_at"])[:10]) == ("status 500", "2026-07-01")


def test_gate_of_inputs_fails_when_none_was_looked_at():
    assert not judge_inputs("litellm_prices", 0, [], run=RUN).is_passed
    assert inputs_read("litellm_prices").severity == "warn"


@pytest.mark.parametrize(("reason_code", "lost_count"), [("value_unparsable", 1), ("bucket_repeated", 0)])
def test_gate_warns_of_a_line_that_was_rejected_and_says_where_it_stands(
    con: duckdb.DuckDBPyConnection, reason_code: str, lost_count: int
):
    con.execute("update ops.landings set rows_read_count = 4 where source_name = 'gateway'")
    con.execute("create schema raw")
    con.execute(
        "create table raw.raw_bill__lines_rejected as select 'gateway' as source_name, 'a.csv' as input_uri, "
        "cast(2 as bigint) as record_index, ? as reason_code, 'cost: no number' as reason, 'alice' as raw_text",
        [reason_code],
    )
    result = judge_lines(con, "table_files", "raw_bill__lines", run=RUN)
    assert (result.gate_name, result.severity) == ("raw__table_files_lines_conserved", "warn")
    # Four rows of each of the gateway's two inputs were read.
    assert (result.is_passed, result.evaluated_count, result.violation_count) == (lost_count == 0, 8, lost_count)
    assert [(row["input_uri"], row["record_index"], row["reason"]) for row in _sample(result)] == [
        ("a.csv", 2, "cost: no number")
    ][:lost_count]
    assert "alice" not in result.sample_json
