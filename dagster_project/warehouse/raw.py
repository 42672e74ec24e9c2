"""Landing files as tables of the warehouse: one view per entity, one for its rejects, and the manifest.

A raw view names exactly the files that the manifest says are current, so a landing file that no manifest names
is never read. An entity that has landed nothing yet is a typed empty view: staging always finds its columns.
"""

from collections.abc import Iterable
from datetime import datetime

import duckdb
import pyarrow as pa

from dagster_project.sources._connector import Connector, Entity
from dagster_project.warehouse.landing import LANDING_COLUMNS, REJECT_SCHEMA, Landing, LandingZone

HISTORY_SUFFIX = "_history"

LANDINGS_DDL = """
create or replace table ops.landings (
    landing_id varchar, source_name varchar, kind varchar, feed varchar, entity varchar, input_uri varchar,
    input_sha256 varchar, input_bytes bigint, landed_at timestamptz, rows_read_count bigint, rows_landed_count bigint,
    rows_rejected_count bigint, input_tokens hugeint, output_tokens hugeint, min_event_at timestamptz,
    max_event_at timestamptz, supersedes_landing_id varchar
)
"""
LANDING_FILES_DDL = """
create or replace table ops.landing_files (
    landing_id varchar, kind varchar, feed varchar, entity varchar, source_name varchar, file_sha256 varchar,
    event_date date, row_count bigint
)
"""


def raw_table(connector: Connector, entity: Entity) -> str:
    """Name of an entity's raw table."""
    return f"raw_{connector.kind}__{entity.name}"


def history_table(connector: Connector, entity: Entity) -> str:
    """Name of the view of everything that an entity of a rate card ever landed."""
    return f"{raw_table(connector, entity)}{HISTORY_SUFFIX}"


def refresh_views(con: duckdb.DuckDBPyConnection, zone: LandingZone, connectors: Iterable[Connector]) -> None:
    """Point every raw view at the current landing files, and every view of history at all of them.

    Rate cards have history views: with the columns of the raw table, for records that a later landing of their input
    superseded or withdrew too, and `superseded_at`, when it did; null while they count.

    Args:
        con: The warehouse, writable.
        zone: Where the files are.
        connectors: Whose entities to show, configured or not.
    """
    for connector in connectors:
        for entity in connector.entities:
            columns = [*LANDING_COLUMNS, *entity.schema]
            if entity.day_column is not None:
                columns.append(pa.field("event_date", pa.date32()))
            _view(con, raw_table(connector, entity), columns, zone.file_paths(connector.kind, entity.name))
            _view(
                con,
                f"{raw_table(connector, entity)}_rejected",
                list(REJECT_SCHEMA),
                zone.reject_paths(connector.kind, entity.name),
            )
            if connector.feed == "rates":
                _history_view(con, history_table(connector, entity), columns, _superseded(zone, connector.kind, entity))


def record_landings(con: duckdb.DuckDBPyConnection, landings: Iterable[Landing]) -> None:
    """Mirror the current landings and their files in `ops.landings` and `ops.landing_files`."""
    con.execute(LANDINGS_DDL)
    con.execute(LANDING_FILES_DDL)
    current = list(landings)
    if not current:
        return
    rows = pa.Table.from_pylist(
        [
            {
                "landing_id": item.landing_id,
                "source_name": item.source_name,
                "kind": item.kind,
                "feed": item.feed,
                "entity": item.entity,
                "input_uri": item.input_uri,
                "input_sha256": item.input_sha256,
                "input_bytes": item.input_bytes,
                "landed_at": item.landed_at,
                "rows_read_count": item.rows_read,
                "rows_landed_count": item.rows_landed,
                "rows_rejected_count": item.rows_rejected,
                "input_tokens": str(item.tokens_in) if item.tokens_in is not None else None,
                "output_tokens": str(item.tokens_out) if item.tokens_out is not None else None,
                "min_event_at": item.min_event_at,
                "max_event_at": item.max_event_at,
                "supersedes_landing_id": item.supersedes,
            }
            for item in current
        ]
    )
    files = [
        {
            "landing_id": item.landing_id,
            "kind": item.kind,
            "feed": item.feed,
            "entity": item.entity,
            "source_name": item.source_name,
            "file_sha256": file.sha256,
            "event_date": file.event_date,
            "row_count": file.rows,
        }
        for item in current
        for file in item.files
    ]
    con.register("landing_rows", rows)
    con.execute("insert into ops.landings by name select * from landing_rows")
    con.unregister("landing_rows")
    if files:
        con.register("file_rows", pa.Table.from_pylist(files))
        con.execute("insert into ops.landing_files by name select * from file_rows")
        con.unregister("file_rows")


def _view(con: duckdb.DuckDBPyConnection, name: str, columns: list[pa.Field], paths: Iterable[object]) -> None:
    names = ", ".join(f'"{field.name}"' for field in columns)
    files = ", ".join(_quoted(str(path)) for path in paths)
    if files:
        # Hive partitioning gives event_date its value and lets a window of days skip the other files.
        body = f"select {names} from read_parquet([{files}], hive_partitioning = true)"
    else:
        typed = ", ".join(f'cast(null as {_sql_type(field.type)}) as "{field.name}"' for field in columns)
        body = f"select {typed} where false"
    con.execute(f"create or replace view raw.{name} as {body}")


def _superseded(zone: LandingZone, kind: str, entity: Entity) -> dict[str, datetime | None]:
    """Give every file that an entity ever landed, by its path, and when the last of its landings ceased to count.

    Content that comes back within the instant in which it was superseded is landed in the same file again.
    """
    landings = [item for item in zone.all(kind) if item.entity == entity.name]
    ends = {item.supersedes: item.landed_at for item in landings if item.supersedes}
    found: dict[str, datetime | None] = {}
    for item in landings:
        end = ends.get(item.landing_id)
        for file in item.files:
            known = found.get(str(file.path), end)
            found[str(file.path)] = max(end, known) if end and known else None
    return found


def _history_view(
    con: duckdb.DuckDBPyConnection, name: str, columns: list[pa.Field], files: dict[str, datetime | None]
) -> None:
    if not files:
        _view(con, name, [*columns, pa.field("superseded_at", pa.timestamp("us", tz="UTC"))], [])
        return
    names = ", ".join(f'records."{field.name}"' for field in columns)
    paths = ", ".join(_quoted(path) for path in files)
    ends = ", ".join(
        f"({_quoted(path)}, cast({'null' if end is None else _quoted(end.isoformat())} as timestamptz))"
        for path, end in files.items()
    )
    con.execute(
        f"""
        create or replace view raw.{name} as
        select {names}, landings.superseded_at
        from read_parquet([{paths}], hive_partitioning = true, filename = 'landing_path') as records
        inner join (values {ends}) as landings (landing_path, superseded_at)
            on records.landing_path = landings.landing_path
        """
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    return {
        "string": "varchar",
        "large_string": "varchar",
        "int64": "bigint",
        "int32": "integer",
        "double": "double",
        "bool": "boolean",
        "date32[day]": "date",
    }[str(kind)]
