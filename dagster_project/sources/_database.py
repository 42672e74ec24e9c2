"""Databases behind an SQLAlchemy URL: connections with limits, rows as JSON values, refusals in plain words.

Everything is read in read-only transactions; the URL, which holds the password, stands in no message, name or file.
Limits are said within the transaction that they hold for, and nothing is prepared: so a pooler may stand between that
hands out a connection per transaction, such as PgBouncer, which refuses what it does not know when one connects.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import Secret, secret_origin
from dagster_project.sources._http import Deadline, HttpOptions, RetryError, retried

_ROWS_AT_A_TIME = 5_000
_POSTGRESQL = "postgresql"
_PSYCOPG = "psycopg"
# What tools other than libpq put into the query of a PostgreSQL URL; libpq refuses what it does not know.
_FOREIGN_PARAMETERS = frozenset(
    {"schema", "connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size", "sslaccept"}
)
# Of these no further try can be better: what is asked for, a statement that writes, who may connect, which database.
_PERMANENT_STATES = ("22", "25006", "28", "3D", "3F", "42")
_PERMANENT_WORDS = re.compile(
    r"authentication failed|does not exist|no password supplied|no pg_hba\.conf entry|permission denied|"
    r"access denied|unable to open database file|no such (?:table|column)|syntax error|readonly database|"
    r"unsupported startup parameter",
    re.IGNORECASE,
)


class DatabaseOptions(BaseModel):
    """How a database is reached. None of it decides how its rows are read.

    Attributes:
        url: SQLAlchemy URL with user and password, `${NAME}`.
        connect_timeout_seconds: Patience for a connection.
        statement_timeout_seconds: Patience for one statement; PostgreSQL is told.
        attempt_count: How often a connection is tried.
        pause_seconds: First pause between tries; it doubles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Secret = Field(exclude=True)
    connect_timeout_seconds: int = Field(default=10, ge=1, exclude=True)
    statement_timeout_seconds: int = Field(default=600, ge=1, exclude=True)
    attempt_count: int = Field(default=3, ge=1, le=10, exclude=True)
    pause_seconds: float = Field(default=1.0, ge=0, exclude=True)

    @field_validator("url")
    @classmethod
    def _is_a_database(cls, value: SecretStr) -> SecretStr:
        try:
            _parsed(value)
        except ArgumentError:
            msg = f"{secret_origin(value)} is no database URL, expected dialect://user:password@host:port/database"
            raise ValueError(msg) from None
        return value


class Database:
    """One database; connections are opened for what is asked and closed afterwards.

    Args:
        options: Where it is, and the limits.
        sleep: How to wait between tries.
    """

    def __init__(self, options: DatabaseOptions, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._options = options
        self._sleep = sleep
        self._url = _parsed(options.url)
        self._engine = self._make_engine()

    @property
    def address(self) -> str:
        """The public address: dialect, host, port and database."""
        public = URL.create(
            self._url.get_backend_name(), host=self._url.host, port=self._url.port, database=self._url.database
        )
        return public.render_as_string()

    @property
    def is_postgresql(self) -> bool:
        """Whether it speaks PostgreSQL."""
        return self._url.get_backend_name() == _POSTGRESQL

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a transaction that sees the database as it is at one instant, as far as the database has such.

        Raises:
            PermanentSourceError: it refuses the user, or what is asked for.
            TransientSourceError: it cannot be reached, or breaks off.
        """
        connection = self._connect()
        try:
            with self.explained():
                for statement in self._limits():
                    connection.exec_driver_sql(statement)
                yield connection
        finally:
            connection.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the database says into the project's errors."""
        try:
            yield
        except SQLAlchemyError as error:
            self._explain(error)

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Give the rows of a statement as JSON values by column name, some thousand at a time."""
        with self.snapshot() as connection:
            yield from rows(connection, statement, parameters)

    def _connect(self) -> Connection:
        def once(_: Deadline) -> Connection:
            try:
                return self._engine.connect()
            except DBAPIError as error:
                if _is_permanent(error):
                    self._explain(error)
                raise RetryError(self._said(error)) from error

        tries = HttpOptions(attempt_count=self._options.attempt_count, pause_seconds=self._options.pause_seconds)
        advice = "pull again when it answers, or correct the URL."
        return retried(once, f"Connected to {self.address}", advice, tries, self._sleep)

    def _make_engine(self) -> Engine:
        arguments: dict[str, Any] = {}
        engine_options: dict[str, Any] = {}
        if self.is_postgresql:
            arguments = {
                "connect_timeout": self._options.connect_timeout_seconds,
                "application_name": "tokenledger",
            }
            if self._url.get_driver_name() == _PSYCOPG:
                arguments["prepare_threshold"] = None
            engine_options = {"isolation_level": "REPEATABLE READ"}
        try:
            return create_engine(
                self._url, poolclass=NullPool, hide_parameters=True, connect_args=arguments, **engine_options
            )
        except (SQLAlchemyError, ImportError) as error:
            msg = (
                f"Opened {self.address}: {type(error).__name__}: {error}. Expected a driver for "
                f"{self._url.drivername!r}; install one, or name an installed one in the URL."
            )
            raise PermanentSourceError(msg) from None

    def _limits(self) -> tuple[str, ...]:
        """Give the first statements of a transaction: it only reads, within its time, and writes values one way."""
        if not self.is_postgresql:
            return ()
        return (
            "set transaction read only",
            f"set local statement_timeout = {self._options.statement_timeout_seconds * 1000}",
            "set local timezone = 'UTC'",
            "set local datestyle = 'ISO'",
            "set local extra_float_digits = 1",
        )

    def _explain(self, error: SQLAlchemyError) -> NoReturn:
        said = self._said(error)
        if isinstance(error, DBAPIError) and not _is_permanent(error):
            msg = f"Read {self.address}: {said}. Expected the whole answer; pull again."
            raise TransientSourceError(msg) from None
        msg = (
            f"Read {self.address}: {said}. Expected a user who may read what is asked for; correct "
            f"{secret_origin(self._options.url)}, or what is asked for in the source configuration."
        )
        raise PermanentSourceError(msg) from None

    def _said(self, error: SQLAlchemyError) -> str:
        """Give the database's own words, on one line, without the statement and without the password."""
        cause = getattr(error, "orig", None) or error
        words = " ".join(str(cause).split()) or type(cause).__name__
        if self._url.password:
            words = words.replace(str(self._url.password), "***")
        return words.rstrip(".")


def rows(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Give the rows of a statement as JSON values by column name, some thousand at a time."""
    streamed = connection.execution_options(stream_results=True, yield_per=_ROWS_AT_A_TIME)
    for row in streamed.execute(text(statement), dict(parameters or {})).mappings():
        yield {str(name): json_value(value) for name, value in row.items()}


def json_value(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Write a column's value as JSON knows it: instants as ISO 8601 in UTC, decimals exactly, what it lacks as text."""
    match value:
        case None | bool() | int() | float() | str():
            pass
        case datetime():
            value = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        case date():
            value = value.isoformat()
        case Decimal():
            value = value if value.is_finite() else None
        case timedelta():
            value = value.total_seconds()
        case bytes() | memoryview():
            value = bytes(value).decode("utf-8", "backslashreplace")
        case list() | tuple():
            value = [json_value(item) for item in value]
        case dict():
            value = {str(name): json_value(item) for name, item in value.items()}
        case _:
            value = str(value)
    return value


def _parsed(url: SecretStr) -> URL:
    """Read a URL; PostgreSQL without a named driver is psycopg, and libpq gets only what it knows."""
    parsed = make_url(url.get_secret_value().strip())
    if parsed.drivername in {"postgres", _POSTGRESQL}:
        parsed = parsed.set(drivername=f"{_POSTGRESQL}+{_PSYCOPG}")
    if parsed.get_backend_name() == _POSTGRESQL:
        parsed = parsed.difference_update_query(_FOREIGN_PARAMETERS)
    return parsed


def _is_permanent(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    # A connection that is refused has the state of one that broke, or none; what was said tells the two apart.
    if state and not state.startswith("08"):
        return state.startswith(_PERMANENT_STATES)
    return bool(_PERMANENT_WORDS.search(str(error.orig)))
