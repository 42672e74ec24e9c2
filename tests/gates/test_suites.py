"""Every gate of the raw and serving suites passes on a right fixture and fails on a wrong one."""

from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from dagster_project import sources
from dagster_project.gates import raw, serving
from dagster_project.gates.expectations import Suite, evaluate_suites
from dagster_project.gates.gate import GateResult, GateRun, is_gate_name
from dagster_project.warehouse.landing import LANDING_COLUMNS
from tests.gates.fixtures import FAILURES, SERVING_SUITES, SUITES, TABLES

RUN = GateRun(run_id="run-1", checked_at=datetime(2026, 7, 2, tzinfo=UTC))


def _build(path: Path, *tables: str) -> None:
    with duckdb.connect(str(path)) as con:
        con.execute("set timezone = 'America/Los_Angeles'")
        for table in tables:
            con.execute(f"create schema if not exists {table.split('.')[0]}")
            con.execute(f"create table {table} as {TABLES[table]}")


@pytest.fixture(scope="module")
def right_results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GateResult]:
    path = tmp_path_factory.mktemp("right") / "all.duckdb"
    _build(path, *TABLES)
    return {result.gate_name: result for result in evaluate_suites(database_path=path, suites=SUITES, run=RUN)}


def _gate_suites() -> list[tuple[str, Suite]]:
    return [(gate.gate_name, suite) for suite in SUITES for gate in suite.gates]


def test_every_gate_has_a_right_and_a_wrong_fixture():
    assert {name for name, _ in _gate_suites()} == set(FAILURES)
    assert {suite.relation for suite in SUITES} == set(TABLES)


def test_gate_names_follow_the_grammar_and_are_unique():
    names = [name for name, _ in _gate_suites()]
    assert all(is_gate_name(name) for name in names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [name for name, _ in _gate_suites()])
def test_gate_passes_on_the_right_fixture(name: str, right_results: dict[str, GateResult]):
    result = right_results[name]
    assert result.is_passed, result.sample_json
    assert result.evaluated_count > 0
    assert result.violation_count == 0


@pytest.fixture(scope="module")
def wrong_results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GateResult]:
    """What each gate says of a table of its own that breaks its rule; all in one evaluation, which starts but once."""
    path = tmp_path_factory.mktemp("wrong") / "all.duckdb"
    suites = []
    with duckdb.connect(str(path)) as con:
        con.execute("set timezone = 'America/Los_Angeles'")
        con.execute("create schema wrong")
        for index, (name, suite) in enumerate(_gate_suites()):
            table = f"wrong.table_{index}"
            con.execute(f"create table {table} as {TABLES[suite.relation]}")
            con.execute(FAILURES[name].format(table=table))
            spec = next(spec for spec, gate in zip(suite.specs, suite.gates, strict=True) if gate.gate_name == name)
            suites.append(Suite(stage=suite.stage, subject=suite.subject, relation=table, specs=(spec,)))
    return {result.gate_name: result for result in evaluate_suites(database_path=path, suites=suites, run=RUN)}


@pytest.mark.parametrize("name", [name for name, _ in _gate_suites()])
def test_gate_fails_on_the_wrong_fixture(name: str, wrong_results: dict[str, GateResult]):
    result = wrong_results[name]
    assert not result.is_passed
    # Failed by what it saw, not by being broken.
    assert "error" not in result.sample_json
    assert result.violation_count > 0


def test_every_gate_fails_when_its_tables_are_empty(tmp_path: Path):
    path = tmp_path / "empty.duckdb"
    _build(path, *TABLES)
    with duckdb.connect(str(path)) as con:
        for table in TABLES:
            con.execute(f"delete from {table}")
    judged = [suite for suite in SUITES if not suite.may_be_empty]
    results = evaluate_suites(database_path=path, suites=judged, run=RUN)
    # Whether columns exist is judged on columns; everything else judged no row.
    passed = {result.gate_name for result in results if result.is_passed}
    assert passed == {name for name in passed if name.endswith("_columns_present")}
    assert all(result.evaluated_count == 0 for result in results if result.gate_name not in passed)


def test_suites_of_what_may_be_empty_pass_without_a_row_and_still_judge_the_columns(tmp_path: Path):
    suites = [suite for suite in SUITES if suite.may_be_empty]
    path = tmp_path / "empty.duckdb"
    _build(path, *(suite.relation for suite in suites))
    with duckdb.connect(str(path)) as con:
        for suite in suites:
            con.execute(f"delete from {suite.relation}")
    assert all(result.is_passed for result in evaluate_suites(database_path=path, suites=suites, run=RUN))
    suites = [suite for suite in suites if suite.stage == "raw"]
    with duckdb.connect(str(path)) as con:
        for suite in suites:
            con.execute(f"alter table {suite.relation} drop column source_name")
    failed = {
        item.gate_name for item in evaluate_suites(database_path=path, suites=suites, run=RUN) if not item.is_passed
    }
    for suite in suites:
        assert {f"raw__{suite.subject}_columns_present", f"raw__{suite.subject}_source_name_present"} <= failed


def test_raw_suites_judge_every_entity_that_a_connector_lands_by_its_own_columns():
    landed = {
        f"raw.raw_{connector.kind}__{entity.name}": entity
        for connector in sources.discover().values()
        for entity in connector.entities
    }
    assert {suite.relation for suite in raw.SUITES} == set(landed)
    for suite in raw.SUITES:
        entity = landed[suite.relation]
        assert (suite.day_column is None) == (entity.day_column is None)
        assert suite.may_be_empty == entity.may_be_empty
        columns = {*LANDING_COLUMNS.names, *entity.schema.names, suite.day_column}
        for spec in suite.specs:
            named = {*spec.kwargs.get("column_set", ()), spec.kwargs.get("column", "source_name")}
            assert named <= columns, spec.rule


def test_raw_suites_are_those_of_the_configured_kinds():
    chosen = raw.suites(["genai_prices", "kpi_files"])
    assert [suite.subject for suite in chosen] == [
        "genai_prices_rates", "genai_prices_model_patterns", "kpi_files_scores",
    ]  # fmt: skip


def test_raw_suites_judge_only_the_days_of_the_window(tmp_path: Path):
    path = tmp_path / "window.duckdb"
    _build(path, "raw.raw_table_files__calls")
    with duckdb.connect(str(path)) as con:
        con.execute(
            "insert into raw.raw_table_files__calls"
            " select * replace (date '2026-07-02' as event_date) from raw.raw_table_files__calls"
        )
    inside = raw.suites(["table_files"], window=(date(2026, 7, 1), date(2026, 7, 2)))
    beyond = raw.suites(["table_files"], window=(date(2026, 7, 1), date(2026, 7, 3)))
    assert all(result.is_passed for result in evaluate_suites(database_path=path, suites=inside, run=RUN))
    assert {
        result.gate_name
        for result in evaluate_suites(database_path=path, suites=beyond, run=RUN)
        if not result.is_passed
    } == {"raw__table_files_calls_record_unique", "raw__table_files_calls_event_date_reconciled"}


def test_serving_suites_are_those_of_the_configured_parts():
    chosen = serving.suites(start_date=date(2026, 7, 1), end_date=date(2026, 7, 2), parts=["usage"])
    assert [suite.subject for suite in chosen] == [
        "publication",
        "fct_calls",
        "rpt_daily_spend",
        "rpt_daily_reconciliation",
        "dim_models",
    ]
    assert len(SERVING_SUITES) > len(chosen)


def test_serving_suites_refuse_an_unknown_part_and_an_empty_window():
    with pytest.raises(ValueError, match="bills are not among"):
        serving.suites(start_date=date(2026, 7, 1), end_date=date(2026, 7, 2), parts=["bills"])
    with pytest.raises(ValueError, match="before it starts"):
        serving.suites(start_date=date(2026, 7, 2), end_date=date(2026, 7, 1), parts=["usage"])
