"""The serving file: what it holds, when it is published, and that readers never notice the swap."""

import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from dagster_project.errors import ConfigurationError
from dagster_project.gates import serving as serving_gates
from dagster_project.gates.expectations import evaluate_suites
from dagster_project.gates.gate import Gate, GateResult, GateRun, Verdict, result_of
from dagster_project.publish import serving
from dagster_project.publish.serving import PublishedRelation, ReplacedDays, ServingManifest, build_serving

BUILT_AT = datetime(2026, 10, 1, 6, tzinfo=UTC)
AS_OF = datetime(2026, 10, 1, tzinfo=UTC)
RUN = GateRun(run_id="run-1", checked_at=BUILT_AT)
GATE = Gate(
    stage="marts",
    subject="fct_calls",
    predicate="not_empty",
    rule="It has rows.",
    why="It is all.",
    tool="sql",
)
PASSED = result_of(GATE, Verdict(1, 0), RUN)
FAILED = result_of(GATE, Verdict(1, 1), RUN)

WAREHOUSE_SQL = """
    create schema staging;
    create schema marts;
    create schema analytics;
    create table staging.stg_calls as select 1 as call_id;
    create table marts.fct_calls as
        select 'call-' || k as call_id, date '2026-09-30' as event_date, k * 100 as input_tokens,
            cast(k as decimal(38, 15)) * cast(0.0058125 as decimal(38, 15)) as effective_cost_usd
        from range(10) as t(k) order by k desc;
    create index by_call on marts.fct_calls (call_id);
    comment on table marts.fct_calls is 'One row per call; it''s the ledger.';
    comment on column marts.fct_calls.call_id is 'Name of the call.';
    create view marts.fct_call_charges as
        select call_id, event_date, 'input' as unit_kind, input_tokens as quantity_units
        from warehouse.marts.fct_calls
        union all
        select call_id, event_date, 'request', 1 from marts.fct_calls;
    comment on view marts.fct_call_charges is 'One row per call and kind.';
    create view analytics.a_first as select count(*) as charge_count from marts.fct_call_charges;
    create view analytics.b_unpublished as select call_id from staging.stg_calls;
    create view analytics.c_second as
        with named as (select * from analytics.b_unpublished) select * from named;
    create view analytics.d_listed as select unnest as n from unnest([3, 1, 2]);
    create view analytics.e_renamed (first_id) as select min(call_id) from marts.fct_calls;
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute(WAREHOUSE_SQL)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "tokenledger.duckdb"


def _build(warehouse: Path, target: Path, results: Sequence[GateResult] = (PASSED,), **more: object) -> ServingManifest:
    return build_serving(
        warehouse_path=warehouse,
        serving_path=target,
        built_at=BUILT_AT,
        as_of=AS_OF,
        gate_results=results,
        **more,  # type: ignore[arg-type]
    )


def _ask(path: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as con:
        con.execute("set timezone = 'UTC'")
        return con.execute(sql).fetchall()


def _storage_version(path: Path) -> int:
    # The main header: 8 bytes of checksum, the magic word, then the version.
    header = path.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    return struct.unpack("<Q", header[12:20])[0]


def test_build_publishes_the_marts_and_nothing_else(warehouse: Path, target: Path):
    manifest = _build(warehouse, target)
    assert manifest.is_published
    assert manifest.refusals == ()
    relations = _ask(
        target,
        "select table_schema, table_name, table_type from information_schema.tables order by 1, 2",
    )
    assert relations == [
        ("analytics", "a_first", "VIEW"),
        ("analytics", "b_unpublished", "BASE TABLE"),
        ("analytics", "c_second", "VIEW"),
        ("analytics", "d_listed", "VIEW"),
        ("analytics", "e_renamed", "BASE TABLE"),
        ("marts", "fct_call_charges", "VIEW"),
        ("marts", "fct_calls", "BASE TABLE"),
        ("ops", "gate_results", "BASE TABLE"),
        ("ops", "publication", "BASE TABLE"),
    ]
    assert _ask(target, "select count(*) from duckdb_indexes()") == [(0,)]


def test_build_copies_rows_exactly_and_in_their_order(warehouse: Path, target: Path):
    _build(warehouse, target)
    assert _ask(target, "select call_id, effective_cost_usd from marts.fct_calls limit 2") == [
        ("call-9", Decimal("0.052312500000000")),
        ("call-8", Decimal("0.046500000000000")),
    ]
    # 0.0058125 x (0 + 1 + ... + 9)
    assert _ask(target, "select sum(effective_cost_usd) from marts.fct_calls") == [(Decimal("0.261562500000000"),)]


def test_build_recreates_views_that_work_under_any_database_name(warehouse: Path, target: Path):
    _build(warehouse, target)
    renamed = target.rename(target.with_name("copy.duckdb"))
    with duckdb.connect() as con:
        con.execute(f"attach '{renamed}' as finance (read_only)")
        assert con.execute("select count(*) from finance.marts.fct_call_charges").fetchone() == (20,)
        assert con.execute("select charge_count from finance.analytics.a_first").fetchone() == (20,)
        assert con.execute("select call_id from finance.analytics.c_second").fetchone() == (1,)
        assert con.execute("select first_id from finance.analytics.e_renamed").fetchone() == ("call-0",)


def test_build_copies_comments(warehouse: Path, target: Path):
    _build(warehouse, target)
    assert _ask(target, "select comment from duckdb_tables() where table_name = 'fct_calls'") == [
        ("One row per call; it's the ledger.",)
    ]
    assert _ask(target, "select comment from duckdb_views() where view_name = 'fct_call_charges'") == [
        ("One row per call and kind.",)
    ]
    assert _ask(target, "select column_name, comment from duckdb_columns() where comment is not null") == [
        ("call_id", "Name of the call.")
    ]


def test_build_says_what_it_published_and_what_was_judged(warehouse: Path, target: Path):
    manifest = _build(warehouse, target)
    assert _ask(
        target,
        "select schema_name, table_name, relation_type, row_count, built_at, as_of from ops.publication order by 1, 2",
    ) == [
        ("analytics", "a_first", "view", None, BUILT_AT, AS_OF),
        ("analytics", "b_unpublished", "stored view", 1, BUILT_AT, AS_OF),
        ("analytics", "c_second", "view", None, BUILT_AT, AS_OF),
        ("analytics", "d_listed", "view", None, BUILT_AT, AS_OF),
        ("analytics", "e_renamed", "stored view", 1, BUILT_AT, AS_OF),
        ("marts", "fct_call_charges", "view", None, BUILT_AT, AS_OF),
        ("marts", "fct_calls", "table", 10, BUILT_AT, AS_OF),
    ]
    assert _ask(target, "select gate_name, is_passed from ops.gate_results") == [("marts__fct_calls_not_empty", True)]
    assert PublishedRelation(
        schema_name="marts", table_name="fct_calls", relation_type="table", row_count=10
    ) in manifest.relations  # fmt: skip
    assert manifest.file_bytes == target.stat().st_size


def test_build_writes_a_file_that_older_engines_open(warehouse: Path, target: Path):
    # 64 to 68 are the storage versions that DuckDB 1.5 reads; the engine's own default is newer.
    _build(warehouse, target)
    assert 64 <= _storage_version(target) <= 68
    assert _storage_version(warehouse) > 68


def test_build_leaves_one_closed_file(warehouse: Path, target: Path):
    _build(warehouse, target)
    _build(warehouse, target)
    assert sorted(path.name for path in target.parent.iterdir()) == [
        ".tokenledger.duckdb.lock",
        "tokenledger.duckdb",
    ]
    with duckdb.connect(str(warehouse)) as con:
        con.execute("delete from marts.fct_calls")


@pytest.mark.parametrize(
    ("results", "reason"),
    [([FAILED], "marts__fct_calls_not_empty: 1 violations in 1"), ([], "no gate was judged")],
)
def test_build_leaves_the_old_file_when_a_gate_fails(
    warehouse: Path, target: Path, results: list[GateResult], reason: str
):
    _build(warehouse, target)
    before = target.read_bytes()
    with duckdb.connect(str(warehouse)) as con:
        con.execute("delete from marts.fct_calls")
    manifest = _build(warehouse, target, results)
    assert not manifest.is_published
    assert reason in manifest.refusals[0]
    assert target.read_bytes() == before


def test_build_publishes_in_spite_of_a_warning(warehouse: Path, target: Path):
    warning = result_of(
        Gate(stage="marts", subject="x", predicate="known", rule="r", why="w", tool="sql", severity="warn"),
        Verdict(1, 1),
        RUN,
    )
    assert _build(warehouse, target, [PASSED, warning]).is_published


def test_build_has_the_candidate_judged_before_it_is_published(warehouse: Path, target: Path):
    seen: list[int] = []

    def judge(candidate: Path) -> list[GateResult]:
        assert candidate.parent == target.parent
        seen.append(_ask(candidate, "select count(*) from marts.fct_calls")[0][0])
        assert _ask(target, "select count(*) from marts.fct_calls") == [(10,)]
        return [result_of(GATE, Verdict(seen[-1], 0), GateRun(run_id="run-2", checked_at=BUILT_AT))]

    _build(warehouse, target)
    with duckdb.connect(str(warehouse)) as con:
        con.execute("delete from marts.fct_calls where input_tokens < 300")
    assert _build(warehouse, target, judge_candidate=judge).is_published
    with duckdb.connect(str(warehouse)) as con:
        con.execute("delete from marts.fct_calls")
    assert not _build(warehouse, target, judge_candidate=lambda path: [*judge_empty(path)]).is_published
    assert seen == [7]
    assert _ask(target, "select run_id, evaluated_count from ops.gate_results order by 1") == [
        ("run-1", 1), ("run-2", 7),
    ]  # fmt: skip


def judge_empty(candidate: Path) -> list[GateResult]:
    return [result_of(GATE, Verdict(_ask(candidate, "select count(*) from marts.fct_calls")[0][0], 0), RUN)]


def test_build_takes_the_serving_suites_as_judges(warehouse: Path, target: Path):
    suites = serving_gates.suites(start_date=date(2026, 7, 1), end_date=date(2026, 10, 1), parts=[])
    manifest = _build(
        warehouse,
        target,
        judge_candidate=lambda path: evaluate_suites(database_path=path, suites=suites, run=RUN),
    )
    assert manifest.is_published
    assert [result.gate_name for result in manifest.gate_results if result.stage == "serving"] == [
        "serving__publication_not_empty",
        "serving__publication_built_at_present",
        "serving__publication_as_of_present",
    ]


def test_build_works_while_this_process_holds_the_warehouse(warehouse: Path, target: Path):
    with duckdb.connect(str(warehouse)) as con:
        con.execute("insert into marts.fct_calls values ('late', date '2026-09-30', 1, 0)")
        assert _build(warehouse, target, connection=con).is_published
        assert con.execute("select current_database(), count(*) from marts.fct_calls").fetchone() == (
            "warehouse",
            11,
        )
        assert con.execute("select count(*) from duckdb_databases() where not internal").fetchone() == (1,)
    assert _ask(target, "select count(*) from marts.fct_calls") == [(11,)]


def test_build_keeps_the_stored_order_whatever_the_connection_prefers(warehouse: Path, target: Path):
    with duckdb.connect(str(warehouse)) as con:
        con.execute("create table marts.fct_ordered as select k from range(1_000_000) as t(k)")
        con.execute("set preserve_insertion_order = false")
        _build(warehouse, target, connection=con)
        assert con.execute("select current_setting('preserve_insertion_order')").fetchone() == (False,)
    displaced = "select count(*) from (select k, lag(k) over (order by rowid) as former from marts.fct_ordered)"
    assert _ask(target, f"{displaced} where former > k") == [(0,)]


def test_build_says_so_when_the_warehouse_is_held_missing_or_empty(tmp_path: Path, warehouse: Path, target: Path):
    with duckdb.connect(str(warehouse)), pytest.raises(ConfigurationError, match="pass the one that is open"):
        _build(warehouse, target)
    with pytest.raises(ConfigurationError, match="no such file"):
        _build(tmp_path / "absent.duckdb", target)
    empty = tmp_path / "empty.duckdb"
    duckdb.connect(str(empty)).close()
    with pytest.raises(ConfigurationError, match="hold no table"):
        _build(empty, target)
    assert [path.name for path in target.parent.iterdir()] == [".tokenledger.duckdb.lock"]


@pytest.mark.parametrize("step", ["_copy_tables", "_copy_views", "_copy_comments", "_record_results", "_replace"])
def test_a_crash_in_any_step_leaves_the_old_file(
    step: str, warehouse: Path, target: Path, monkeypatch: pytest.MonkeyPatch
):
    _build(warehouse, target)
    before = target.read_bytes()

    def crash(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(serving, step, crash)
    with pytest.raises(OSError, match="no space left"):
        _build(warehouse, target)
    assert target.read_bytes() == before
    monkeypatch.undo()
    assert _build(warehouse, target).is_published
    assert len(list(target.parent.iterdir())) == 2


def test_a_killed_build_leaves_the_old_file_and_the_next_one_clears_up(warehouse: Path, target: Path):
    _build(warehouse, target)
    before = target.read_bytes()
    script = f"""
import time
from datetime import UTC, datetime
from pathlib import Path
from dagster_project.publish.serving import build_serving
now = datetime.now(UTC)
def wait(candidate):
    print(candidate.name, flush=True)
    time.sleep(60)
build_serving(warehouse_path=Path({str(warehouse)!r}), serving_path=Path({str(target)!r}),
    built_at=now, as_of=now, gate_results=[], judge_candidate=wait)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as build:
        assert build.stdout is not None
        leftover = target.with_name(build.stdout.readline().strip())
        build.send_signal(signal.SIGKILL)
    assert leftover.exists()
    assert target.read_bytes() == before
    assert _build(warehouse, target).is_published
    assert not leftover.exists()


def test_a_log_of_the_old_file_is_not_read_into_the_new_one(warehouse: Path, target: Path):
    _build(warehouse, target)
    target.with_name("tokenledger.duckdb.wal").write_bytes(b"somebody else's")
    _build(warehouse, target)
    assert _ask(target, "select count(*) from marts.fct_calls") == [(10,)]


def test_a_reader_keeps_reading_through_the_swap(warehouse: Path, target: Path):
    _build(warehouse, target)
    script = f"""
import sys, duckdb
con = duckdb.connect({str(target)!r}, read_only=True)
for line in sys.stdin:
    print(con.execute("select count(*), sum(effective_cost_usd) from marts.fct_calls").fetchone(), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def read() -> str:
            reader.stdin.write("again\n")
            reader.stdin.flush()
            return reader.stdout.readline()

        first = read()
        with duckdb.connect(str(warehouse)) as con:
            con.execute("delete from marts.fct_calls where input_tokens > 0")
        # Published while the reader holds the old file: the writer does not wait for it.
        started_s = time.monotonic()
        assert _build(warehouse, target).is_published
        assert time.monotonic() - started_s < 30
        assert read() == first
        reader.stdin.close()
    assert first.startswith("(10, ")
    assert _ask(target, "select count(*) from marts.fct_calls") == [(1,)]


def test_build_refuses_instants_without_time_zone(warehouse: Path, target: Path):
    with pytest.raises(ValueError, match="as_of"):
        build_serving(
            warehouse_path=warehouse,
            serving_path=target,
            built_at=BUILT_AT,
            as_of=datetime(2026, 10, 1),  # noqa: DTZ001
            gate_results=[PASSED],
        )


LAST_OF_SEPTEMBER = {
    "fct_calls": ReplacedDays(day_column="event_date", first_date=date(2026, 9, 30), last_date=date(2026, 9, 30))
}


def _costs_by_day(target: Path) -> list[tuple]:
    return _ask(target, "select event_date, count(*), sum(input_tokens) from marts.fct_calls group by 1 order by 1")


def _add_day(warehouse: Path, day: str, tokens: int) -> None:
    with duckdb.connect(str(warehouse)) as con:
        con.execute("insert into marts.fct_calls select ?, cast(? as date), ?, 0", [f"call-{day}", day, tokens])


def test_build_replaces_the_days_that_were_built_and_takes_over_the_others(warehouse: Path, target: Path):
    _add_day(warehouse, "2026-09-29", 7)
    _build(warehouse, target)
    with duckdb.connect(str(warehouse)) as con:
        con.execute("delete from marts.fct_calls where call_id in ('call-9', 'call-8')")
        con.execute("insert into marts.fct_calls values ('call-10', date '2026-09-30', 1000, 0)")
        con.execute("insert into marts.fct_calls values ('call-11', date '2026-09-30', 1100, 0)")
        # Not among the built days: what is published of it stays.
        con.execute("update marts.fct_calls set input_tokens = 8 where event_date = date '2026-09-29'")
    _build(warehouse, target, replaced_days=LAST_OF_SEPTEMBER)
    # 0 + 100 + ... + 700 = 2800, and 1000 + 1100 of the two new calls.
    assert _costs_by_day(target) == [(date(2026, 9, 29), 1, 7), (date(2026, 9, 30), 10, 4900)]
    assert _ask(target, "select comment from duckdb_tables() where table_name = 'fct_calls'") == [
        ("One row per call; it's the ledger.",)
    ]


def test_build_copies_a_table_whole_when_the_taken_over_days_lack_rows(warehouse: Path, target: Path):
    _build(warehouse, target)
    _add_day(warehouse, "2026-09-28", 5)
    manifest = _build(warehouse, target, replaced_days=LAST_OF_SEPTEMBER)
    assert _costs_by_day(target) == [(date(2026, 9, 28), 1, 5), (date(2026, 9, 30), 10, 4500)]
    assert next(item.row_count for item in manifest.relations if item.table_name == "fct_calls") == 11


def test_build_copies_a_table_whole_when_its_columns_changed(warehouse: Path, target: Path):
    _build(warehouse, target)
    with duckdb.connect(str(warehouse)) as con:
        con.execute("create or replace table marts.fct_calls as select *, 'sales' as team_name from marts.fct_calls")
    _build(warehouse, target, replaced_days=LAST_OF_SEPTEMBER)
    assert _ask(target, "select count(*), count(team_name) from marts.fct_calls") == [(10, 10)]


def test_build_without_a_former_publication_copies_everything(warehouse: Path, target: Path):
    _build(warehouse, target, replaced_days=LAST_OF_SEPTEMBER)
    assert _costs_by_day(target) == [(date(2026, 9, 30), 10, 4500)]


def test_build_drops_what_the_warehouse_no_longer_has(warehouse: Path, target: Path):
    with duckdb.connect(str(warehouse)) as con:
        con.execute("create table marts.rpt_gone as select 1 as one")
    _build(warehouse, target)
    with duckdb.connect(str(warehouse)) as con:
        con.execute("drop table marts.rpt_gone")
    _build(warehouse, target, replaced_days=LAST_OF_SEPTEMBER)
    assert _ask(target, "select count(*) from information_schema.tables where table_name = 'rpt_gone'") == [(0,)]
