"""Landing files as tables of the warehouse: one view per entity, one for its rejects, and the manifest.

A raw view names exactly the files that the manifest says are current, so a landing file that no manifest names
is never read. An entity that has landed nothing yet is a typed empty view: staging always finds its columns.
"""

from collections.abc import Iterable

import duckdb
import pyarrow as pa

from dagster_project.sources._connector import Connector, Entity
from dagster_project.warehouse.landing import LANDING_COLUMNS, REJECT_SCHEMA, Landing, LandingZone

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


def refresh_views(con: duckdb.DuckDBPyConnection, zone: LandingZone, connectors: Iterable[Connector]) -> None:
    """Point every raw view at the current landing files.

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
