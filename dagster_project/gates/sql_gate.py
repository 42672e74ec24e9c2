"""Gates that one SQL query judges: conservation, reconciliation, freshness.

Running such a query and turning its rows into a verdict belongs here; the queries themselves are files in
`sql/`.

A gate query returns one row per thing that must balance (a source and day, a billing period) or one row in
all, with the columns `evaluated_count` and `violation_count`; all other columns say which thing it is and are
sampled when it does not balance.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import duckdb

from dagster_project.errors import ConfigurationError
from dagster_project.gates.gate import SAMPLE_ROW_COUNT, Gate, GateResult, GateRun, Verdict, result_of

_COUNT_COLUMNS = ("evaluated_count", "violation_count")


def judge(
    con: duckdb.DuckDBPyConnection,
    gate: Gate,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    run: GateRun,
    sample_sql: str | None = None,
) -> GateResult:
    """Judge a gate by SQL.

    Args:
        con: Where to run; only read from.
        gate: What is judged; its tool is `sql`.
        sql: One query returning rows with `evaluated_count` and `violation_count` (see the module). The
            counts are summed over the rows. No row, or a null or zero count of things judged, fails; a null
            violation count is a comparison that could not be made, and counts as everything in that row
            violated.
        params: Values for the query's `$name` parameters; names that the query does not use are ignored, so
            one set of run parameters serves all gates.
        run: The run that asks.
        sample_sql: A query returning violations; without it the query's own violating rows are the sample.

    Returns:
        The result. A query that the database refuses gives a failed result whose sample holds the message: an
        unjudged gate is not a passed one.

    Raises:
        ConfigurationError: The query does not return the two count columns.
    """
    try:
        rows = _rows(con, sql, params or {})
        _require_counts(gate, rows.names)
        verdict = _verdict(rows.as_dicts())
        if sample_sql is not None and verdict.violation_count:
            sample = _rows(con, sample_sql, params or {}, limit=SAMPLE_ROW_COUNT).as_dicts()
            verdict = Verdict(verdict.evaluated_count, verdict.violation_count, sample)
    except duckdb.Error as error:
        verdict = Verdict(0, 0, [{"error": f"{type(error).__name__}: {error}"}])
    return result_of(gate, verdict, run)


class _Rows:
    def __init__(self, names: Sequence[str], values: Sequence[Sequence[object]]) -> None:
        self.names = names
        self.values = values

    def as_dicts(self) -> list[dict[str, object]]:
        return [dict(zip(self.names, row, strict=True)) for row in self.values]


def _rows(con: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, object], *, limit: int | None = None) -> _Rows:
    statements = con.extract_statements(sql)
    if len(statements) != 1:
        raise ConfigurationError(
            f"A gate is one query; found {len(statements)} statements in: {sql[:200]!r}. Split the file."
        )
    # DuckDB refuses values for parameters that a statement does not name.
    used = {name: params[name] for name in statements[0].named_parameters if name in params}
    cursor = con.execute(statements[0], used) if used else con.execute(statements[0])
    names = [column[0] for column in cursor.description or ()]
    return _Rows(names, cursor.fetchall() if limit is None else cursor.fetchmany(limit))


def _require_counts(gate: Gate, names: Sequence[str]) -> None:
    missing = [name for name in _COUNT_COLUMNS if name not in names]
    if missing:
        raise ConfigurationError(
            f"Judged gate {gate.gate_name}; its query returned the columns {', '.join(names)} and lacks "
            f"{', '.join(missing)}. Name both counts in the query's select list."
        )


def _verdict(rows: Sequence[Mapping[str, object]]) -> Verdict:
    evaluated_count = 0
    violation_count = 0
    sample: list[Mapping[str, object]] = []
    for row in rows:
        evaluated = _count(row["evaluated_count"]) or 0
        violations = _count(row["violation_count"])
        evaluated_count += evaluated
        violation_count += max(evaluated, 1) if violations is None else violations
        if violations != 0 and len(sample) < SAMPLE_ROW_COUNT:
            sample.append(row)
    return Verdict(evaluated_count, violation_count, sample if violation_count else ())


def _count(value: object) -> int | None:
    return None if value is None else int(Decimal(str(value)))
