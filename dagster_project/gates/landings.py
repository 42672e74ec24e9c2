"""What landed, against the configuration: a source that is not configured any more is shown while it counts."""

from collections.abc import Collection

import duckdb

from dagster_project.gates.gate import Gate, GateResult, GateRun
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
