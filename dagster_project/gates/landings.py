"""What landed, and what did not: sources that are not configured any more, inputs and lines that could not be read."""

from collections.abc import Collection, Mapping, Sequence

import duckdb

from dagster_project.gates.gate import Gate, GateResult, GateRun, Verdict, result_of
from dagster_project.gates.sql_gate import judge

_SOURCES_SQL = """
select
    source_name,
    count(distinct input_uri) as input_count,
    sum(rows_landed_count) as row_count,
    max(landed_at) as last_landed_at,
    1 as evaluated_count,
    cast(not list_contains($known_names, source_name) as integer) as violation_count
from ops.landings
where kind = $kind
group by source_name
order by source_name
"""

# A copy of a bucket that stands again further on in its file is not lost: the other one counts.
_LOST = "reason_code <> 'bucket_repeated'"


def sources_known(kind: str) -> Gate:
    """Give the gate that a kind's landings are all of sources that the configuration names; it warns."""
    return Gate(
        stage="raw",
        subject=kind,
        aspect="sources",
        predicate="known",
        rule="Every source whose landings count is in the configuration, under sources or former_sources.",
        why="What a removed source landed stays in the ledger; under a new name the same feed would count twice. "
        "Say under former_sources whether its landings are kept or withdrawn.",
        tool="sql",
        severity="warn",
    )


def judge_sources(
    con: duckdb.DuckDBPyConnection, kind: str, known_names: Collection[str], *, run: GateRun
) -> GateResult:
    """Judge the sources of a kind's current landings, from `ops.landings`.

    Args:
        con: The warehouse.
        kind: Kind of source.
        known_names: Its sources that the configuration names.
        run: The run that asks.
    """
    return judge(con, sources_known(kind), _SOURCES_SQL, {"kind": kind, "known_names": sorted(known_names)}, run=run)


def inputs_read(kind: str) -> Gate:
    """Give the gate that a pull could read every input of a kind; it warns."""
    return Gate(
        stage="raw",
        subject=kind,
        aspect="inputs",
        predicate="fresh",
        rule="The pull could read every input of every configured source.",
        why="An input that cannot be read keeps what it landed before: a rate card stays in force at its last good "
        "version, and what has changed since is missing.",
        tool="python",
        severity="warn",
    )


def judge_inputs(kind: str, input_count: int, failures: Sequence[Mapping[str, object]], *, run: GateRun) -> GateResult:
    """Judge what a pull could read.

    Args:
        kind: Kind of source.
        input_count: Inputs that it looked at, those that failed included.
        failures: What could not be read, one row each with its source, input, message and last good version.
        run: The run that asks.
    """
    return result_of(inputs_read(kind), Verdict(input_count, len(failures), list(failures)), run)


def lines_conserved(kind: str) -> Gate:
    """Give the gate that every line of a kind of bill or cost report landed; it warns."""
    return Gate(
        stage="raw",
        subject=kind,
        aspect="lines",
        predicate="conserved",
        rule="Every line of a bill or a cost report landed; none was rejected.",
        why="A line that is rejected is money that is on the bill and not in the ledger; its credit may have landed. "
        "It stands with its text in the view of rejected records: correct the file, or the options of its source.",
        tool="sql",
        severity="warn",
    )


def judge_lines(con: duckdb.DuckDBPyConnection, kind: str, table: str, *, run: GateRun) -> GateResult:
    """Judge the rejects of a kind's current landings; the sample has their places and reasons, not their text.

    Args:
        con: The warehouse.
        kind: Kind of source.
        table: Its raw table.
        run: The run that asks.
    """
    sql = f"""
        select
            (select coalesce(sum(rows_read_count), 0) from ops.landings where kind = $kind) as evaluated_count,
            (select count(*) from raw.{table}_rejected where {_LOST}) as violation_count
    """
    sample_sql = f"""
        select source_name, input_uri, record_index, reason_code, reason
        from raw.{table}_rejected
        where {_LOST}
        order by source_name, input_uri, record_index
    """
    return judge(con, lines_conserved(kind), sql, {"kind": kind}, run=run, sample_sql=sample_sql)
