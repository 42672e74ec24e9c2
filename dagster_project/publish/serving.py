"""The serving warehouse: one DuckDB file with the marts, replaced as a whole when its gates have passed.

Copying the published schemas into a candidate file, having it judged, and putting it in the place of the old
one belong here. Of a table that is kept by day only the days that were built again are written; the rest is
taken over from the old file, so that a day's publication costs what the day costs. The old file is untouched
until the rename; a reader that has it open keeps reading it and never blocks the writer. Within one process
DuckDB hands out the file that it already has open: close every connection to the serving file before expecting
to see the new one.
"""

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock

from dagster_project.errors import ConfigurationError
from dagster_project.gates import results as gate_record
from dagster_project.gates.gate import GateResult, blocking_failures
from dagster_project.publish._files import sync_directory, sync_file

PUBLISHED_SCHEMAS = ("marts", "analytics")

# What the pipeline remembers and cannot be built again from the landing zone.
PUBLISHED_RECORDS = ("published_billing_periods", "published_spend")

# DuckDB 1.5 and later open it; a newer format would shut out BI tools that bundle an older engine.
STORAGE_VERSION = "v1.5.0"

_WAREHOUSE = "tokenledger_warehouse"
_CANDIDATE = "tokenledger_candidate"
_LOCK_TIMEOUT_S = 600

# Table functions that read nothing outside the database file.
_PURE_TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})

_PUBLICATION_DDL = """
create table ops.publication (
    schema_name varchar not null,
    table_name varchar not null,
    relation_type varchar not null,
    row_count bigint,
    built_at timestamptz not null,
    as_of timestamptz not null,
    tokenledger_version varchar not null
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedDays:
    """The days of a table that were built again since the last publication, both ends inclusive.

    Attributes:
        day_column: The table's UTC day.
        first_date: First day built again.
        last_date: Last day built again.
    """

    day_column: str
    first_date: date
    last_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRelation:
    """One table or view of the serving file; a view's rows are not counted (null)."""

    schema_name: str
    table_name: str
    relation_type: str
    row_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingManifest:
    """What a build did.

    Attributes:
        serving_path: Where readers look.
        is_published: Whether the new file took its place; otherwise the old one is as it was.
        refusals: Why not: one line per blocking gate that failed, or that nothing was judged.
        built_at: When it was built.
        as_of: Up to when the data reach.
        tokenledger_version: The version that built it.
        relations: What it holds.
        gate_results: All judgements: those handed in and those of the candidate.
        file_bytes: Size of the built file.
    """

    serving_path: Path
    is_published: bool
    refusals: tuple[str, ...]
    built_at: datetime
    as_of: datetime
    tokenledger_version: str
    relations: tuple[PublishedRelation, ...]
    gate_results: tuple[GateResult, ...]
    file_bytes: int


def build_serving(
    *,
    warehouse_path: Path,
    serving_path: Path,
    built_at: datetime,
    as_of: datetime,
    gate_results: Sequence[GateResult],
    judge_candidate: Callable[[Path], Sequence[GateResult]] | None = None,
    replaced_days: Mapping[str, ReplacedDays] | None = None,
    connection: duckdb.DuckDBPyConnection | None = None,
    memory_limit: str = "2GB",
) -> ServingManifest:
    """Build the serving file beside the old one, have it judged, and put it in its place.

    Tables are copied in their stored order, without indexes; a view is recreated when everything it reads is
    published too, and stored as a table otherwise; comments go along. `ops.publication` holds one row per
    relation, `ops.gate_results` every judgement, `ops.published_spend` and
    `ops.published_billing_periods` what was published of each day and of each billing period. Killed at any point,
    the old file stays, and the next build clears what was left.

    Args:
        warehouse_path: The pipeline's own file; only read.
        serving_path: The file to replace; its directory is created.
        built_at: The instant of building, with time zone.
        as_of: The instant up to which the data reach, with time zone.
        gate_results: The judgements of this run's earlier stages.
        judge_candidate: Judges the finished candidate file before it is published (the serving suites). It
            must leave the file closed.
        replaced_days: By table of the marts, the days that were built again; everything else of such a table is
            taken over from the published file. A table that then has another row count than the warehouse's is
            copied whole, as is every table without an entry.
        connection: A connection to the warehouse held by this process, whose file DuckDB will then not open a
            second time; what it has committed is published, under its own memory limit.
        memory_limit: DuckDB memory limit of the copy, without `connection`.

    Returns:
        What was built. It is not published when a blocking gate failed or nothing at all was judged.

    Raises:
        ConfigurationError: The warehouse is missing, cannot be opened, or has no published table.
        ValueError: An instant has no time zone.
    """
    for name, instant in (("built_at", built_at), ("as_of", as_of)):
        if instant.tzinfo is None:
            raise ValueError(f"{name} {instant.isoformat()} has no time zone; publications are dated in UTC")
    refusals = _refusals(gate_results, is_final=judge_candidate is None)
    serving_path.parent.mkdir(parents=True, exist_ok=True)
    version = _version()
    with _sole_candidate(serving_path) as candidate_path:
        with _source(warehouse_path, connection, memory_limit) as (source, catalog):
            kept = dict(replaced_days or {}) if serving_path.is_file() else {}
            if kept:
                shutil.copyfile(serving_path, candidate_path)
            relations = _write_candidate(source, catalog, candidate_path, (built_at, as_of, version), kept)
        judged = list(gate_results)
        if judge_candidate is not None and not refusals:
            judged.extend(judge_candidate(candidate_path))
            refusals = _refusals(judged, is_final=True)
        _record_results(candidate_path, judged)
        file_bytes = candidate_path.stat().st_size
        if not refusals:
            _replace(candidate_path, serving_path)
    return ServingManifest(
        serving_path=serving_path,
        is_published=not refusals,
        refusals=refusals,
        built_at=built_at,
        as_of=as_of,
        tokenledger_version=version,
        relations=relations,
        gate_results=tuple(judged),
        file_bytes=file_bytes,
    )


def _version() -> str:
    try:
        return metadata.version("tokenledger")
    except metadata.PackageNotFoundError:
        return "not installed"


def _refusals(results: Sequence[GateResult], *, is_final: bool) -> tuple[str, ...]:
    failed = tuple(
        f"{result.gate_name}: {result.violation_count} violations in {result.evaluated_count} judged"
        for result in blocking_failures(results)
    )
    if is_final and not results:
        return ("no gate was judged; nothing ungated is published",)
    return failed


@contextlib.contextmanager
def _sole_candidate(serving_path: Path) -> Iterator[Path]:
    """Reserve a fresh path beside the serving file, for one builder at a time, and clear it up."""
    leftovers = f".{serving_path.name}.*.building*"
    with FileLock(serving_path.with_name(f".{serving_path.name}.lock"), timeout=_LOCK_TIMEOUT_S):
        _clear(serving_path.parent, leftovers)
        try:
            yield serving_path.with_name(f".{serving_path.name}.{uuid.uuid4().hex}.building")
        finally:
            _clear(serving_path.parent, leftovers)


def _clear(directory: Path, pattern: str) -> None:
    for leftover in directory.glob(pattern):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _source(
    warehouse_path: Path, connection: duckdb.DuckDBPyConnection | None, memory_limit: str
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """A connection of the copy's own that sees the warehouse, and the warehouse's name in it."""
    if connection is not None:
        with contextlib.closing(connection.cursor()) as cursor:
            yield cursor, str(_scalar(cursor, "select current_database()"))
        return
    tried = f"Opened the warehouse {warehouse_path} read-only to publish from it"
    if not warehouse_path.is_file():
        raise ConfigurationError(f"{tried}; there is no such file. Run the pipeline first.")
    with contextlib.closing(duckdb.connect(config={"memory_limit": memory_limit})) as own:
        try:
            own.execute(f"attach {_text(str(warehouse_path))} as {_WAREHOUSE} (read_only)")
        except duckdb.Error as error:
            raise ConfigurationError(
                f"{tried}; DuckDB answered: {error}. Close other connections to it, or pass the one that is open."
            ) from error
        yield own, _WAREHOUSE


def _write_candidate(
    source: duckdb.DuckDBPyConnection,
    catalog: str,
    candidate_path: Path,
    dating: tuple[datetime, datetime, str],
    kept: Mapping[str, ReplacedDays],
) -> tuple[PublishedRelation, ...]:
    source.execute(f"attach {_text(str(candidate_path))} as {_CANDIDATE} (storage_version '{STORAGE_VERSION}')")
    try:
        _drop_all_but(source, {("marts", table) for table in kept})
        with _stored_order(source):
            relations = [*_copy_tables(source, catalog, kept), *_copy_views(source, catalog)]
        if not relations:
            raise ConfigurationError(
                f"Published from the schemas {', '.join(PUBLISHED_SCHEMAS)} of the warehouse; they hold no "
                "table. Build the marts first."
            )
        _copy_comments(source, catalog, relations)
        source.execute(f"use {_CANDIDATE}")
        source.execute("create schema ops")
        source.execute(_PUBLICATION_DDL)
        source.executemany(
            "insert into ops.publication values (?, ?, ?, ?, ?, ?, ?)",
            [
                (entry.schema_name, entry.table_name, entry.relation_type, entry.row_count, *dating)
                for entry in relations
            ],
        )
        for table in _published_records(source, catalog):
            source.execute(f"create table ops.{table} as from {_quoted(catalog)}.ops.{table}")
    finally:
        source.execute(f"use {_quoted(catalog)}")
        # Detaching writes the log into the file; without it the file alone would be incomplete.
        source.execute(f"detach {_CANDIDATE}")
    return tuple(relations)


def _published_records(source: duckdb.DuckDBPyConnection, catalog: str) -> list[str]:
    """Give the tables of the pipeline's own record that readers get, as far as they exist."""
    rows = source.execute(
        f"""
        select table_name from duckdb_tables()
        where database_name = $catalog and schema_name = 'ops'
            and table_name in ({", ".join(_text(name) for name in PUBLISHED_RECORDS)})
        order by table_name
        """,
        {"catalog": catalog},
    ).fetchall()
    return [str(name) for (name,) in rows]


@contextlib.contextmanager
def _stored_order(source: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Copy rows in the order in which they are stored; readers skip row groups by it."""
    before = _scalar(source, "select current_setting('preserve_insertion_order')")
    source.execute("set preserve_insertion_order = true")
    try:
        yield
    finally:
        source.execute(f"set preserve_insertion_order = {before}")


def _drop_all_but(source: duckdb.DuckDBPyConnection, kept: Collection[tuple[str, str]]) -> None:
    """Empty a candidate that began as a copy of the published file, apart from the tables that are taken over."""
    for schema, view in _published(source, _CANDIDATE, "duckdb_views()", "view_name"):
        source.execute(f"drop view {_CANDIDATE}.{schema}.{_quoted(view)}")
    for schema, table in _published(source, _CANDIDATE, "duckdb_tables()", "table_name"):
        if (schema, table) not in kept:
            source.execute(f"drop table {_CANDIDATE}.{schema}.{_quoted(table)}")
    source.execute(f"drop schema if exists {_CANDIDATE}.ops cascade")


def _copy_tables(
    source: duckdb.DuckDBPyConnection, catalog: str, kept: Mapping[str, ReplacedDays]
) -> list[PublishedRelation]:
    copied = []
    for schema in PUBLISHED_SCHEMAS:
        source.execute(f"create schema if not exists {_CANDIDATE}.{schema}")
    for schema, table in _published(source, catalog, "duckdb_tables()", "table_name"):
        days = kept.get(table) if schema == "marts" else None
        taken_over = _replace_days(source, catalog, schema, table, days) if days else None
        copied.append(taken_over or _store(source, catalog, schema, table, relation_type="table"))
    return copied


def _replace_days(
    source: duckdb.DuckDBPyConnection, catalog: str, schema: str, table: str, days: ReplacedDays
) -> PublishedRelation | None:
    """Replace a taken-over table's days; None, and no table, when it cannot be what the warehouse holds."""
    name = f"{schema}.{_quoted(table)}"
    target, origin = f"{_CANDIDATE}.{name}", f"{_quoted(catalog)}.{name}"
    columns = _columns(source, _CANDIDATE, schema, table)
    if columns == _columns(source, catalog, schema, table):
        within = f"{_quoted(days.day_column)} between $first and $last"
        bounds = {"first": days.first_date, "last": days.last_date}
        source.execute(f"delete from {target} where {within}", bounds)
        source.execute(f"insert into {target} select * from {origin} where {within}", bounds)
        counts = [int(str(_scalar(source, f"select count(*) from {relation}"))) for relation in (target, origin)]
        if counts[0] == counts[1]:
            return PublishedRelation(schema_name=schema, table_name=table, relation_type="table", row_count=counts[0])
    source.execute(f"drop table if exists {target}")
    return None


def _copy_views(source: duckdb.DuckDBPyConnection, catalog: str) -> list[PublishedRelation]:
    """Recreate views whose inputs are published, inputs first; store the others as tables."""
    pending = {
        (schema, view): _view_body(source, catalog, schema, view)
        for schema, view in _published(source, catalog, "duckdb_views()", "view_name")
    }
    available = set(_published(source, _CANDIDATE, "duckdb_tables()", "table_name"))
    copied: list[PublishedRelation] = []
    while pending:
        ready = [key for key, body in pending.items() if body is not None and body.reads <= available]
        # Storing one that reads unpublished tables may make others, which read it, ready.
        for schema, view in ready or [next(iter(pending))]:
            body = pending.pop((schema, view))
            if ready and body is not None and _recreate(source, catalog, schema, view, body):
                copied.append(
                    PublishedRelation(schema_name=schema, table_name=view, relation_type="view", row_count=None)
                )
            else:
                copied.append(_store(source, catalog, schema, view, relation_type="stored view"))
            available.add((schema, view))
    return copied


@dataclass(frozen=True, slots=True)
class _ViewBody:
    select_sql: str
    reads: frozenset[tuple[str, str]]


def _view_body(source: duckdb.DuckDBPyConnection, catalog: str, schema: str, view: str) -> _ViewBody | None:
    """A view's query without database names, and what it reads; None when it must be stored."""
    definition = str(
        _scalar(
            source,
            "select sql from duckdb_views() where database_name = ? and schema_name = ? and view_name = ?",
            [catalog, schema, view],
        )
    )
    query = definition[definition.upper().index(" AS ") + 4 :].rstrip().removesuffix(";")
    tree = json.loads(str(_scalar(source, "select json_serialize_sql(?)", [query])))
    if tree["error"]:
        return None
    named = {entry["key"] for node in _nodes(tree) if "cte_map" in node for entry in node["cte_map"]["map"]}
    reads = set()
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION" and not _is_pure(node):
            return None
        if node.get("type") == "BASE_TABLE":
            if node["catalog_name"] not in ("", catalog):
                return None
            reads.add((node["schema_name"], node["table_name"]))
            node["catalog_name"] = ""
            if "qualified_name" in node:
                node["qualified_name"]["path"] = node["qualified_name"]["path"][-2:]
    select_sql = str(_scalar(source, "select json_deserialize_sql(?::json)", [json.dumps(tree)]))
    return _ViewBody(select_sql, frozenset(read for read in reads if read[0] or read[1] not in named))


def _is_pure(table_function: dict[str, Any]) -> bool:
    return table_function.get("function", {}).get("function_name") in _PURE_TABLE_FUNCTIONS


def _recreate(source: duckdb.DuckDBPyConnection, catalog: str, schema: str, view: str, body: _ViewBody) -> bool:
    """Create a view in the candidate; False, and no view, when it does not come out with the same columns."""
    name = f"{_CANDIDATE}.{schema}.{_quoted(view)}"
    source.execute(f"use {_CANDIDATE}")
    try:
        source.execute(f"create view {name} as {body.select_sql}")
    except duckdb.Error:
        return False
    finally:
        source.execute(f"use {_quoted(catalog)}")
    if _columns(source, _CANDIDATE, schema, view) == _columns(source, catalog, schema, view):
        return True
    source.execute(f"drop view {name}")
    return False


def _columns(source: duckdb.DuckDBPyConnection, catalog: str, schema: str, table: str) -> list[tuple[Any, ...]]:
    return source.execute(
        """
        select column_name, data_type from duckdb_columns()
        where (database_name, schema_name, table_name) = ($1, $2, $3)
        order by column_index
        """,
        [catalog, schema, table],
    ).fetchall()


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _store(
    source: duckdb.DuckDBPyConnection, catalog: str, schema: str, table: str, *, relation_type: str
) -> PublishedRelation:
    name = f"{schema}.{_quoted(table)}"
    source.execute(f"create table {_CANDIDATE}.{name} as from {_quoted(catalog)}.{name}")
    row_count = int(str(_scalar(source, f"select count(*) from {_CANDIDATE}.{name}")))
    return PublishedRelation(schema_name=schema, table_name=table, relation_type=relation_type, row_count=row_count)


def _copy_comments(source: duckdb.DuckDBPyConnection, catalog: str, relations: Sequence[PublishedRelation]) -> None:
    for entry in relations:
        name = f"{_CANDIDATE}.{entry.schema_name}.{_quoted(entry.table_name)}"
        kind = "view" if entry.relation_type == "view" else "table"
        key = [catalog, entry.schema_name, entry.table_name]
        comment = source.execute(
            """
            select comment from duckdb_tables()
            where (database_name, schema_name, table_name) = ($1, $2, $3) and comment is not null
            union all
            select comment from duckdb_views()
            where (database_name, schema_name, view_name) = ($1, $2, $3) and comment is not null
            """,
            key,
        ).fetchone()
        if comment is not None:
            source.execute(f"comment on {kind} {name} is {_text(comment[0])}")
        columns = source.execute(
            """
            select column_name, comment from duckdb_columns()
            where (database_name, schema_name, table_name) = ($1, $2, $3) and comment is not null
            """,
            key,
        ).fetchall()
        for column, text in columns:
            source.execute(f"comment on column {name}.{_quoted(column)} is {_text(text)}")


def _published(
    source: duckdb.DuckDBPyConnection, catalog: str, listing: str, name_column: str
) -> list[tuple[str, str]]:
    rows = source.execute(
        f"""
        select schema_name, {name_column} from {listing}
        where database_name = $catalog and schema_name in ({", ".join(_text(name) for name in PUBLISHED_SCHEMAS)})
            and not internal
        order by schema_name, {name_column}
        """,
        {"catalog": catalog},
    ).fetchall()
    return [(str(schema), str(name)) for schema, name in rows]


def _record_results(candidate_path: Path, results: Sequence[GateResult]) -> None:
    with contextlib.closing(duckdb.connect(str(candidate_path))) as candidate:
        gate_record.record(candidate, results)
        candidate.execute("checkpoint")


def _replace(candidate_path: Path, serving_path: Path) -> None:
    sync_file(candidate_path)
    candidate_path.replace(serving_path)
    # A log beside the old file belonged to somebody who opened it for writing; it must not be read into this
    # one.
    serving_path.with_name(f"{serving_path.name}.wal").unlink(missing_ok=True)
    sync_directory(serving_path.parent)


def _scalar(source: duckdb.DuckDBPyConnection, sql: str, params: Sequence[object] | None = None) -> object:
    row = source.execute(sql, list(params or [])).fetchone()
    return row[0] if row else None


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
