"""The Great Expectations adapter: what it counts, what it leaves behind, whom it locks out."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from dagster_project.errors import ConfigurationError
from dagster_project.gates import _specs
from dagster_project.gates.expectations import ExpectationSpec, Suite, evaluate_suite, evaluate_suites
from dagster_project.gates.gate import GateResult, GateRun

RUN = GateRun(run_id="run-1", checked_at=datetime(2026, 7, 2, tzinfo=UTC))
SPECS = (
    _specs.not_empty(why="w"),
    _specs.columns_present(["k", "absent_1", "absent_2"], why="w"),
    _specs.present("v", why="w"),
    _specs.known("s", ["a", "b"], why="w"),
    _specs.within_range("d", min_value=0, max_value=8, why="w", severity="warn"),
    _specs.unique(["s"], aspect="s", why="w"),
    _specs.violations("k >= 8", aspect="k", predicate="within_range", rule="k < 8.", why="w"),
    _specs.present("absent", why="w"),
    ExpectationSpec(
        expectation="ExpectColumnMaxToBeBetween",
        kwargs={"column": "k", "max_value": 5},
        aspect="max_k",
        predicate="within_range",
        rule="The largest k is at most 5.",
        why="w",
    ),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # k 0..9; v null for 0 and 5; s is a, b, c in turn, and null once; d is k with three decimals.
    path = tmp_path / "t.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(
            """
            create schema raw;
            create table raw.t as
            select k, case when k % 5 > 0 then k end as v,
                case when k < 9 then ['a', 'b', 'c'][1 + k % 3] end as s, cast(k as decimal(9, 3)) as d
            from range(10) as t(k)
            """
        )
    return path


def _evaluate(
    path: Path,
    specs: Sequence[ExpectationSpec] = SPECS,
    relation: str = "raw.t",
    connection: duckdb.DuckDBPyConnection | None = None,
) -> dict[str, GateResult]:
    results = evaluate_suite(
        database_path=path,
        relation_sql_or_table=relation,
        specs=specs,
        stage="raw",
        subject="t",
        run=RUN,
        connection=connection,
    )
    return {result.gate_name: result for result in results}


def test_evaluate_counts_what_it_judged_and_what_broke(path: Path):
    results = _evaluate(path)
    assert {name: (r.is_passed, r.evaluated_count, r.violation_count) for name, r in results.items()} == {
        "raw__t_not_empty": (True, 10, 0),
        "raw__t_columns_present": (False, 3, 2),
        "raw__t_v_present": (False, 10, 2),
        "raw__t_s_known": (False, 10, 3),
        "raw__t_d_within_range": (False, 10, 1),
        "raw__t_s_unique": (False, 10, 3),
        "raw__t_k_within_range": (False, 10, 2),
        "raw__t_absent_present": (False, 0, 0),
        "raw__t_max_k_within_range": (False, 10, 1),
    }
    assert {result.tool for result in results.values()} == {"great_expectations"}
    assert results["raw__t_d_within_range"].severity == "warn"


def test_evaluate_samples_the_violations(path: Path):
    samples = {name: json.loads(result.sample_json) for name, result in _evaluate(path).items()}
    assert samples["raw__t_columns_present"] == [
        {"missing_column": "absent_1"},
        {"missing_column": "absent_2"},
    ]
    assert [row["k"] for row in samples["raw__t_v_present"]] == [0, 5]
    assert samples["raw__t_s_known"] == [{"value": "c", "count": 3}]
    assert samples["raw__t_d_within_range"] == [{"value": "9.000", "count": 1}]
    assert sorted(row["s"] for row in samples["raw__t_s_unique"]) == ["a", "b", "c"]
    assert sorted(row["k"] for row in samples["raw__t_k_within_range"]) == [8, 9]
    assert samples["raw__t_max_k_within_range"] == [{"observed_value": 9}]
    assert "absent" in samples["raw__t_absent_present"][0]["error"]
    assert samples["raw__t_not_empty"] == []


def test_evaluate_tolerates_the_share_that_a_spec_states(path: Path):
    spec = ExpectationSpec(
        expectation="ExpectColumnValuesToNotBeNull",
        kwargs={"column": "v"},
        aspect="v",
        predicate="present",
        rule="v is mostly there.",
        why="w",
        tolerance_share=0.2,
    )
    assert _evaluate(path, [spec])["raw__t_v_present"].is_passed


def test_evaluate_fails_everything_on_a_relation_that_does_not_exist(path: Path):
    results = _evaluate(path, relation="raw.nowhere")
    assert len(results) == len(SPECS)
    assert not any(result.is_passed for result in results.values())
    assert all("nowhere" in result.sample_json for result in results.values())


def test_evaluate_judges_a_query_as_it_judges_a_table(path: Path):
    results = _evaluate(path, [SPECS[0], SPECS[2]], relation="(select * from raw.t where k in (1, 5))")
    assert (results["raw__t_not_empty"].evaluated_count, results["raw__t_v_present"].violation_count) == (
        2,
        1,
    )


def test_evaluate_bounds_the_rows_that_it_holds(tmp_path: Path):
    path = tmp_path / "many.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("create schema raw; create table raw.t as select k from range(50000) as t(k)")
    spec = _specs.violations("k >= 0", aspect="k", predicate="known", rule="None is.", why="w")
    result = _evaluate(path, [spec])["raw__t_k_known"]
    assert (result.evaluated_count, result.violation_count) == (50_000, 50_000)
    assert len(json.loads(result.sample_json)) == 20


def test_evaluate_leaves_the_file_free_for_a_writer(path: Path):
    _evaluate(path)
    with duckdb.connect(str(path), config={"threads": 1}) as con:
        con.execute("delete from raw.t")
    assert not path.with_name(f"{path.name}.wal").exists()


def test_evaluate_uses_the_connection_that_holds_the_file(path: Path):
    with duckdb.connect(str(path)) as con:
        con.execute("insert into raw.t values (10, 10, 'a', 1)")
        results = _evaluate(path, SPECS[:1], connection=con)
        assert results["raw__t_not_empty"].evaluated_count == 11
        assert con.execute("select count(*) from raw.t").fetchone() == (11,)


def test_evaluate_says_so_when_this_process_holds_the_file(path: Path):
    with duckdb.connect(str(path)), pytest.raises(ConfigurationError, match="Pass that connection"):
        _evaluate(path)


def test_evaluate_says_so_when_another_process_writes_to_the_file(path: Path):
    hold = f"con = duckdb.connect({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    script = f"import duckdb, sys; {hold}"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        writer.stdout.readline()
        with pytest.raises(ConfigurationError, match="Let the process that writes to it finish"):
            _evaluate(path)
        writer.stdin.close()


def test_evaluate_says_so_when_there_is_no_file(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="no such file"):
        _evaluate(tmp_path / "absent.duckdb")


def test_evaluate_refuses_an_expectation_that_does_not_exist(path: Path):
    spec = ExpectationSpec(expectation="ExpectNothing", predicate="known", rule="r", why="w")
    with pytest.raises(ConfigurationError, match="ExpectNothing"):
        _evaluate(path, [spec])


def test_evaluate_writes_no_file_and_opens_no_network_connection(path: Path, tmp_path: Path):
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    script = f"""
import socket
def refuse(*args, **kwargs):
    raise AssertionError(f"network: {{args}}")
socket.socket.connect = socket.getaddrinfo = refuse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from dagster_project.gates import _specs
from dagster_project.gates.expectations import evaluate_suite
from dagster_project.gates.gate import GateRun
results = evaluate_suite(
    database_path=Path({str(path)!r}), relation_sql_or_table="raw.t", specs=[_specs.present("v", why="w")],
    stage="raw", subject="t", run=GateRun(run_id="r", checked_at=datetime.now(UTC)),
)
print([result.violation_count for result in results])
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=work,
        env={"HOME": str(home), "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[2]\n"
    # Nothing on the progress of the work either; DuckDB's own note about its bindings is not ours.
    assert "Calculating Metrics" not in done.stderr
    assert list(work.iterdir()) == []
    assert list(home.iterdir()) == []


def test_gates_are_declared_without_importing_great_expectations_or_dagster():
    script = (
        "import sys; from dagster_project.gates import raw, serving, sql_gate, results; "
        "assert 'great_expectations' not in sys.modules and 'dagster' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


def test_suite_refuses_two_gates_of_one_name():
    with pytest.raises(ValueError, match="raw__t_v_present"):
        Suite(stage="raw", subject="t", relation="raw.t", specs=(SPECS[2], SPECS[2]))


def test_spec_refuses_a_hidden_tolerance():
    with pytest.raises(ValueError, match="tolerance_share"):
        ExpectationSpec(
            expectation="ExpectColumnValuesToNotBeNull",
            kwargs={"column": "v", "mostly": 0.9},
            predicate="present",
            rule="r",
            why="w",
        )


def test_several_suites_share_one_pass_over_the_file(path: Path):
    suites = [Suite(stage="raw", subject=subject, relation="raw.t", specs=SPECS[:1]) for subject in ("one", "two")]
    results = evaluate_suites(database_path=path, suites=suites, run=RUN)
    assert [result.gate_name for result in results] == ["raw__one_not_empty", "raw__two_not_empty"]
