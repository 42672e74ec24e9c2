"""Tables of the record that only grow, one publication at a time, and that the published file carries too."""

from datetime import datetime
from pathlib import Path

import duckdb


def recall(con: duckdb.DuckDBPyConnection, serving_path: Path, table: str, ddl: str) -> None:
    """Bring a table of `ops` to what the published file says was published.

    A warehouse without the table takes over the file's rows. One that has it gives up what is later than the file: an
    earlier run added that and then did not publish.

    Args:
        con: The warehouse, writable.
        serving_path: The published file, which may not exist yet.
        table: Name of the table, which has a column `published_at`.
        ddl: What creates it when it is not there.
    """
    is_new = not con.execute(
        "select 1 from information_schema.tables where table_schema = 'ops' and table_name = ?", [table]
    ).fetchall()
    con.execute(ddl)
    if not serving_path.is_file():
        return
    with duckdb.connect(str(serving_path), read_only=True) as serving:
        if is_new:
            known = serving.execute(
                "select 1 from duckdb_tables() where schema_name = 'ops' and table_name = ?", [table]
            ).fetchall()
            if known:
                con.register("published_rows", serving.sql(f"from ops.{table}").to_arrow_table())
                con.execute(f"insert into ops.{table} by name from published_rows")
                con.unregister("published_rows")
            return
        [(published_at,)] = serving.execute("select max(built_at) from ops.publication").fetchall()
    if published_at is not None:
        con.execute(f"delete from ops.{table} where published_at > ?", [published_at])


def forget(con: duckdb.DuckDBPyConnection, table: str, *, published_at: datetime) -> None:
    """Remove from a table of `ops` what was added for a publication that did not happen."""
    con.execute(f"delete from ops.{table} where published_at = ?", [published_at])
