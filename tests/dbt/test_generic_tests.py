"""Every generic data test bites: it passes over good rows, finds bad ones, and fails when there is nothing to judge.

dbt compiles the tests over tiny tables in a project of their own; what it compiles is run here and its rows are seen.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from dagster_project.warehouse.dbt import DBT_PROJECT_DIR

GENERIC_TESTS = DBT_PROJECT_DIR / "tests" / "generic"
# The window of the run: two days in the middle of July.
VARIABLES = {"min_date": "2026-07-10", "max_date": "2026-07-11", "instance_horizon_days": 2}


@dataclass(frozen=True)
class Case:
    """One generic test over one tiny table.

    Attributes:
        test: The generic test.
        situation: What the table holds; `passing`, `violating` and `no_rows` are there for every test.
        columns: Names and types of the table's columns.
        rows: The table's rows, as SQL.
        violations: The rows that the test returns.
        arguments: What the test is told.
    """

    test: str
    situation: str
    columns: str
    rows: tuple[str, ...]
    violations: list[tuple[str | None, ...]]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the case, of its table and of its test."""
        return f"{self.test}__{self.situation}"


def _cases() -> list[Case]:
    cases = []

    def add(test: str, columns: str, arguments: Mapping[str, Any], **situations: Any) -> None:  # noqa: ANN401
        for situation, (rows, violations) in situations.items():
            cases.append(Case(test, situation, columns, tuple(rows), violations, arguments))

    add(
        "all_at_least_zero",
        "a integer, b decimal(9, 2)",
        {"columns": ["a", "b"]},
        passing=(["(0, 0)", "(1, null)", "(null, 2.5)"], []),
        violating=(
            ["(1, 1)", "(-1, 0)", "(null, -0.01)"],
            [("below_zero", "-1", "0.00"), ("below_zero", None, "-0.01")],
        ),
        no_rows=([], [("nothing_judged", None, None)]),
    )
    add(
        "group_condition_holds",
        "rule varchar, share decimal(3, 2)",
        {"group_columns": ["rule"], "condition": "sum(share) = 1", "only": "rule <> 'free'"},
        passing=(["('a', 0.7)", "('a', 0.3)", "('b', 1)", "('free', 3)"], []),
        violating=(
            ["('a', 0.6)", "('a', 0.5)", "('b', null)", "('c', 1)"],
            [("condition_broken", "a"), ("condition_broken", "b")],
        ),
        no_rows=([], [("nothing_judged", None)]),
    )
    add(
        "disjoint_in_time",
        "place integer, rule varchar, valid_from date, valid_to date",
        {"key_columns": ["place"], "member_column": "rule"},
        passing=(
            [
                "(1, 'a', '2026-01-01', '2026-02-01')",
                "(1, 'b', '2026-02-01', null)",
                "(2, 'c', '2026-01-01', null)",
                "(1, 'b', '2026-03-01', null)",
            ],
            [],
        ),
        violating=(
            ["(1, 'a', '2026-01-01', '2026-02-02')", "(1, 'b', '2026-02-01', null)", "(2, 'c', '2026-01-01', null)"],
            [("overlapping", "1", "a", "2026-01-01", "2026-02-02"), ("overlapping", "1", "b", "2026-02-01", None)],
        ),
        no_rows=([], [("nothing_judged", None, None, None, None)]),
    )
    add(
        "column_refers",
        "child integer, parent integer",
        {"column": "parent", "to": "(select 1 as id union all select null)", "field": "id", "shown_columns": ["child"]},
        passing=(["(1, 1)", "(2, null)"], []),
        violating=(["(1, 1)", "(2, 3)"], [("refers_to_nothing", "3", "2")]),
        no_rows=([], [("nothing_judged", None, None)]),
    )
    add(
        "all_present",
        "a integer, b varchar",
        {"columns": ["a", "b"]},
        passing=(["(0, '')", "(1, 'x')"], []),
        violating=(["(1, 'x')", "(null, 'x')", "(1, null)"], [("null", None, "x"), ("null", "1", None)]),
        no_rows=([], [("nothing_judged", None, None)]),
    )
    add(
        "column_known",
        "kind varchar",
        {"column": "kind", "values": ["up", "down"]},
        passing=(["('up')", "('down')"], []),
        violating=(
            ["('up')", "('Up')", "('')", "(null)"],
            [("unknown_value", ""), ("unknown_value", "Up"), ("unknown_value", None)],
        ),
        no_rows=([], [("nothing_judged", None)]),
    )
    add(
        "column_known",
        "kind varchar",
        {"column": "kind", "values": ["up"], "is_null_allowed": True},
        null_where_it_is_allowed=(["('up')", "(null)"], []),
        wrong_where_null_is_allowed=(["(null)", "('down')"], [("unknown_value", "down")]),
    )
    add(
        "condition_holds",
        "a integer, b integer",
        {"condition": "a <= b or a = 100", "shown_columns": ["a", "b"]},
        passing=(["(1, 1)", "(1, 2)", "(100, 1)"], []),
        violating=(
            ["(1, 1)", "(2, 1)", "(1, null)"],
            [("condition_broken", "1", None), ("condition_broken", "2", "1")],
        ),
        no_rows=([], [("nothing_judged", None, None)]),
    )
    add(
        "grain_unique",
        "a integer, b varchar",
        {"columns": ["a", "b"]},
        passing=(["(1, 'x')", "(1, 'y')", "(2, 'x')", "(null, 'x')"], []),
        violating=(
            ["(1, 'x')", "(1, 'x')", "(1, 'x')", "(2, 'y')", "(null, 'z')", "(null, 'z')"],
            [("not_unique", "1", "x"), ("not_unique", None, "z")],
        ),
        no_rows=([], [("nothing_judged", None, None)]),
    )
    add(
        "grain_unique",
        "a integer, b varchar, said varchar",
        {"columns": ["a", "b"], "shown_columns": ["said"]},
        passing_with_rows_to_show=(["(1, 'x', 'p')", "(1, 'y', 'p')"], []),
        violating_rows_shown=(
            ["(1, 'x', 'p')", "(1, 'x', 'q')", "(2, 'x', 'r')", "(null, 'z', 's')", "(null, 'z', null)"],
            [
                ("not_unique", "1", "x", "p"),
                ("not_unique", "1", "x", "q"),
                ("not_unique", None, "z", "s"),
                ("not_unique", None, "z", None),
            ],
        ),
        no_rows_to_show=([], [("nothing_judged", None, None, None)]),
    )
    add(
        "grain_unique",
        "a integer",
        {"columns": ["a"], "is_empty_allowed": True},
        no_rows_where_that_is_allowed=([], []),
        violating_where_no_rows_are_allowed=(["(1)", "(1)"], [("not_unique", "1")]),
    )
    add(
        "condition_holds",
        "a integer",
        {"condition": "a > 0", "shown_columns": ["a"], "is_empty_allowed": True},
        no_rows_where_that_is_allowed=([], []),
        broken_where_no_rows_are_allowed=(["(1)", "(0)"], [("condition_broken", "0")]),
    )
    add(
        "all_present",
        "a integer, event_date date",
        {"columns": ["a"], "day_column": "event_date"},
        violating_on_the_first_and_last_day_of_the_window=(
            ["(null, '2026-07-10')", "(null, '2026-07-11')", "(1, '2026-07-10')"],
            [("null", None), ("null", None)],
        ),
        violating_on_days_around_the_window=(["(null, '2026-07-09')", "(1, '2026-07-10')", "(null, '2026-07-12')"], []),
        # A window without rows is judged by the latest day before its end: a quiet day passes on what was true last.
        violating_on_the_last_day_before_an_empty_window=(
            ["(null, '2026-07-07')", "(1, '2026-07-06')", "(null, '2026-07-06')"],
            [("null", None)],
        ),
        passing_on_the_last_day_before_an_empty_window=(["(1, '2026-07-07')", "(null, '2026-07-06')"], []),
        rows_after_the_window_only=(["(1, '2026-07-12')"], [("nothing_judged", None)]),
        rows_without_a_day=(["(1, null)"], [("nothing_judged", None)]),
    )
    # What is dated by the start of an instance is built, and judged, for the horizon around the window too.
    add(
        "grain_unique",
        "a integer, started_date date",
        {"columns": ["a"], "day_column": "started_date"},
        violating_between_days_of_the_horizon=(["(1, '2026-07-08')", "(1, '2026-07-13')"], [("not_unique", "1")]),
        violating_beyond_the_horizon=(["(1, '2026-07-07')", "(1, '2026-07-13')", "(1, '2026-07-14')"], []),
    )
    return cases


CASES = _cases()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """SQL of each case's test, by its name; the tables are in `tiny.duckdb` beside it."""
    folder = tmp_path_factory.mktemp("generic")
    for part in ("macros", "tests"):
        shutil.copytree(DBT_PROJECT_DIR / part, folder / part)
    (folder / "models").mkdir()
    _write(folder / "dbt_project.yml", {"name": "tiny", "profile": "tiny", "vars": VARIABLES})
    database = {"type": "duckdb", "path": str(folder / "tiny.duckdb")}
    _write(folder / "profiles.yml", {"tiny": {"target": "t", "outputs": {"t": database}}})
    tables = [
        {"name": case.name, "data_tests": [{case.test: {"name": f"test_{case.name}", "arguments": case.arguments}}]}
        for case in CASES
    ]
    sources = [{"name": "tiny", "schema": "main", "tables": tables}]
    _write(folder / "models" / "tiny.yml", {"version": 2, "sources": sources})
    folders = ["--project-dir", str(folder), "--profiles-dir", str(folder), "--log-path", str(folder / "logs")]
    try:
        outcome = dbtRunner().invoke(["--quiet", "--no-send-anonymous-usage-stats", "compile", *folders])
    finally:
        DuckDBConnectionManager.close_all_connections()
    assert outcome.success, outcome.exception
    return {result.node.name.removeprefix("test_"): result.node.compiled_code for result in outcome.result}


def _write(path: Path, content: object) -> None:
    # JSON is YAML, and quotes what must be quoted.
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_generic_test_returns_its_violations_and_nothing_else(case: Case, compiled: Mapping[str, str]):
    with duckdb.connect() as con:
        con.execute("attach ':memory:' as tiny; use tiny")
        con.execute(f"create table {case.name} ({case.columns})")
        if case.rows:
            con.execute(f"insert into {case.name} values {', '.join(case.rows)}")
        found = con.execute(compiled[case.name]).fetchall()
    assert sorted(found, key=str) == sorted(case.violations, key=str)


def test_every_generic_test_is_shown_to_pass_to_bite_and_to_fail_over_nothing():
    shown = {(case.test, case.situation) for case in CASES}
    tests = {path.stem for path in GENERIC_TESTS.glob("*.sql")}
    assert tests
    assert {(test, situation) for test in tests for situation in ("passing", "violating", "no_rows")} - shown == set()
