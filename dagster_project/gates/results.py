"""The record of every judgement: `ops.gate_results`, one row per gate and run, append only.

Writing the rows belongs here. Deciding whether a gate passed is `gate.py`; nothing here updates or deletes.
"""

from collections.abc import Sequence
from dataclasses import astuple, fields

import duckdb

from dagster_project.gates.gate import GateResult

GATE_RESULTS_DDL = """
create table if not exists ops.gate_results (
    run_id varchar not null,
    gate_name varchar not null,
    stage varchar not null,
    subject varchar not null,
    tool varchar not null,
    severity varchar not null,
    is_passed boolean not null,
    evaluated_count bigint not null,
    violation_count bigint not null,
    rule varchar not null,
    why varchar not null,
    sample_json varchar not null,
    window_start_date date,
    window_end_date date,
    checked_at timestamptz not null
)
"""

_COLUMNS = tuple(field.name for field in fields(GateResult))


def create_gate_results(con: duckdb.DuckDBPyConnection) -> None:
    """Create `ops.gate_results` in the connection's current database when it is not there."""
    con.execute("create schema if not exists ops")
    con.execute(GATE_RESULTS_DDL)


def record(con: duckdb.DuckDBPyConnection, results: Sequence[GateResult]) -> int:
    """Append results to `ops.gate_results`, all of them or none, keeping every earlier row.

    A result that was already recorded (same run, gate, window and instant) is left as it is, so that
    recording again after a crash adds nothing twice.

    Args:
        con: A writable connection; the table is created when absent.
        results: What to append.

    Returns:
        How many rows were added.
    """
    create_gate_results(con)
    if not results:
        return 0
    # One statement is atomic with or without a transaction of the caller's around it.
    row = f"({', '.join('?' for _ in _COLUMNS)})"
    added = con.execute(
        f"""
        insert into ops.gate_results ({", ".join(_COLUMNS)})
        select distinct on (run_id, gate_name, window_start_date, checked_at) *
        from (values {", ".join(row for _ in results)}) as given ({", ".join(_COLUMNS)})
        where not exists (
            select 1 from ops.gate_results as earlier
            where earlier.run_id = given.run_id
                and earlier.gate_name = given.gate_name
                and earlier.window_start_date is not distinct from given.window_start_date
                and earlier.checked_at = given.checked_at
        )
        """,
        [value for result in results for value in astuple(result)],
    ).fetchone()
    return int(added[0]) if added else 0
