"""The pipeline's own DuckDB file: one writer at a time, opened late and closed early.

Opening, locking and the schemas that dbt does not own live here. What is written belongs to the callers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import duckdb
from filelock import FileLock

from dagster_project.settings import Settings

SCHEMAS = ("raw", "ops", "analytics")


@cache
def _lock(path: Path) -> FileLock:
    return FileLock(path, timeout=-1)


def writer_lock(settings: Settings) -> FileLock:
    """Give the lock that every writer of this state directory holds; re-entrant within a process.

    A second job waits here until the first has done its step, instead of failing on DuckDB's own file lock.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    return _lock(settings.state_dir / "warehouse.lock")


@contextmanager
def kept_open(settings: Settings) -> Iterator[None]:
    """Keep the warehouse open, so that opening it is free, for whoever holds the lock over many steps.

    Opening reads the catalogue, and the last one to close writes the log into the file.
    """
    with writer_lock(settings), duckdb.connect(str(settings.warehouse_path)):
        yield


@contextmanager
def open_warehouse(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the warehouse for writing, alone, and close it afterwards.

    The session's time zone is UTC, and the schemas that dbt does not own exist.
    """
    with writer_lock(settings):
        con = duckdb.connect(str(settings.warehouse_path))
        try:
            con.execute("set TimeZone = 'UTC'")
            con.execute("set preserve_insertion_order = false")
            for schema in SCHEMAS:
                con.execute(f"create schema if not exists {schema}")
            yield con
        finally:
            con.close()
