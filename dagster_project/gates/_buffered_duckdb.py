"""A SQLAlchemy driver for DuckDB that fetches when it executes.

Great Expectations reads rows after its connection was handed back, which DuckDB's own cursors do not survive.
Only the buffering belongs here; everything else is duckdb-engine's. Imported by `expectations.py` when a
suite is run.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import duckdb
from duckdb_engine import ConnectionWrapper, CursorWrapper, Dialect


class BufferedCursor(CursorWrapper):
    """A cursor that holds its rows, up to a limit; beyond it, only reading piece by piece is answered."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, connection: "BufferedConnection", *, row_limit: int) -> None:
        super().__init__(cursor, connection)
        self._cursor = cursor
        self._row_limit = row_limit
        self._rows: deque[tuple[Any, ...]] = deque()
        self._has_more = False
        self.description: list[Any] | None = None

    def execute(self, statement: str, parameters: Sequence[Any] | None = None, context: object = None) -> None:
        """Run a statement and take its rows in."""
        super().execute(statement, parameters, context)
        self.description = self._cursor.description
        fetched = self._cursor.fetchmany(self._row_limit + 1) if self.description else []
        self._has_more = len(fetched) > self._row_limit
        self._rows = deque(fetched[: self._row_limit])

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, or None."""
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Return the next rows, up to a number (one when not said)."""
        return [self._rows.popleft() for _ in range(min(size or 1, len(self._rows)))]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all remaining rows; refused when there are more than were kept."""
        if self._has_more:
            raise duckdb.InvalidInputException(
                f"a statement of a gate returned more than {self._row_limit} rows; aggregate or limit it"
            )
        return self.fetchmany(len(self._rows))


class BufferedConnection(ConnectionWrapper):
    """A connection whose cursors hold their rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, row_limit: int) -> None:
        super().__init__(connection)
        self._connection = connection
        self._row_limit = row_limit

    def cursor(self) -> BufferedCursor:
        """A new buffering cursor."""
        return BufferedCursor(self._connection, self, row_limit=self._row_limit)


class BufferedDialect(Dialect):
    """duckdb-engine's dialect under a name of its own; connections come from the engine's `creator`."""

    driver = "buffered"
    supports_statement_cache = False
