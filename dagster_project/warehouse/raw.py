"""Landing files as tables of the warehouse: one view per entity, one for its rejects, and the manifest.

A raw view names exactly the files that the manifest says are current, so a landing file that no manifest names
is never read. An entity that has landed nothing yet is a typed empty view: staging always finds its columns. A column
that a connector has learnt since a file was landed is null in that file's rows.
"""

from collections.abc import Iterable
from datetime import datetime

import duckdb
import pyarrow as pa

from dagster_project.sources._connector import Connector, Entity
from dagster_project.warehouse.landing import LANDING_COLUMNS, REJECT_SCHEMA, Landing, LandingZone, columns_sha256

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
            of_one_shape = _have_one_shape(zone.current(connector.kind), entity)
            paths = zone.file_paths(connector.kind, entity.name)
            _view(con, raw_table(connector, entity), _records(columns, paths, of_one_shape=of_one_shape))
            paths = zone.reject_paths(connector.kind, entity.name)
            rejects = _records(list(REJECT_SCHEMA), paths, of_one_shape=of_one_shape)
            _view(con, f"{raw_table(connector, entity)}_rejected", rejects)
            if connector.feed == "rates":
                _view(con, history_table(connector, entity), _history(columns, zone.all(connector.kind), entity))


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


def _view(con: duckdb.DuckDBPyConnection, name: str, body: str) -> None:
    con.execute(f"create or replace view raw.{name} as {body}")


def _have_one_shape(landings: Iterable[Landing], entity: Entity) -> bool:
    """Say whether an entity's landings, withdrawals aside, all have the columns that it has now."""
    landings = [item for item in landings if item.entity == entity.name and not item.is_withdrawal]
    return {item.columns_sha256 for item in landings} <= {columns_sha256(entity)}


def _records(columns: list[pa.Field], paths: Iterable[object], *, of_one_shape: bool, options: str = "") -> str:
    """Select columns of landing files.

    Args:
        columns: What to select.
        paths: The files.
        of_one_shape: Whether every file has the columns; where that is not sure, DuckDB looks into each file first.
        options: Further options of DuckDB's reader.
    """
    nothing = ", ".join(f'cast(null as {_sql_type(field.type)}) as "{field.name}"' for field in columns)
    empty = f"select {nothing} where false"
    files = ", ".join(_quoted(str(path)) for path in paths)
    if not files:
        return empty
    # Hive partitioning gives event_date its value and lets a window of days skip the other files.
    options = f"hive_partitioning = true{options}"
    if of_one_shape:
        names = ", ".join(f'"{field.name}"' for field in columns)
        return f"select {names} from read_parquet([{files}], {options})"
    found = f"select * from read_parquet([{files}], {options}, union_by_name = true)"
    typed = ", ".join(f'cast("{field.name}" as {_sql_type(field.type)}) as "{field.name}"' for field in columns)
    return f"select {typed} from ({found} union all by name {empty})"


def _history(columns: list[pa.Field], landings: list[Landing], entity: Entity) -> str:
    """Select everything that an entity ever landed, and when it ceased to count.

    Content that comes back within the instant in which it was superseded is landed in the same file again: the file
    counts until the last of its landings ceases to.
    """
    landings = [item for item in landings if item.entity == entity.name]
    ends = {item.supersedes: item.landed_at for item in landings if item.supersedes}
    found: dict[str, datetime | None] = {}
    for item in landings:
        end = ends.get(item.landing_id)
        for file in item.files:
            known = found.get(str(file.path), end)
            found[str(file.path)] = max(end, known) if end and known else None
    if not found:
        return _records([*columns, pa.field("superseded_at", pa.timestamp("us", tz="UTC"))], [], of_one_shape=True)
    path = pa.field("landing_path", pa.string())
    records = _records(
        [*columns, path], found, of_one_shape=_have_one_shape(landings, entity), options=f", filename = '{path.name}'"
    )
    values = ", ".join(
        f"({_quoted(name)}, cast({'null' if end is None else _quoted(end.isoformat())} as timestamptz))"
        for name, end in found.items()
    )
    names = ", ".join(f'records."{field.name}"' for field in columns)
    return f"""
        select {names}, landings.superseded_at
        from ({records}) as records
        inner join (values {values}) as landings (landing_path, superseded_at)
            on records.landing_path = landings.landing_path
    """


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
