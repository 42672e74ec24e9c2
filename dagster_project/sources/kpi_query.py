"""KPI scores from a database: the rows of an SQL query, one score each, on anything that SQLAlchemy has a dialect for.

A query that names `:window_start` and `:window_end` is asked by UTC day; a day is asked for again until its lookback
has passed. A query that names neither is one input as a whole, asked at each pull. Rows that are gone from an answer
count no more: the new answer takes the place of the former one.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import Batch, Connector, InputPull, PullContext
from dagster_project.sources._database import Database, DatabaseOptions
from dagster_project.sources._kpis import SCORES, KpiOptions, score_batches
from dagster_project.sources._windows import WHOLE, Window, WindowedSource, day_of, days, window_inputs

_BIND = re.compile(r"(?<![:\w\\]):(window_start|window_end)\b")


class KpiQueryOptions(KpiOptions):
    """Options of a query for KPI scores.

    Attributes:
        database: Where it is asked.
        query: The SELECT; its columns are mapped by `columns`. An ORDER BY keeps equal answers equal.
        start_date: First UTC day of a query by windows.
        lookback_days: For how many days after its end a window may still change.
        retention_days: After how many days the database forgets rows; days that may be cut are left as they landed.
    """

    database: DatabaseOptions = Field(exclude=True)
    query: str = Field(min_length=1)
    start_date: date | None = Field(default=None, exclude=True)
    lookback_days: int = Field(default=7, ge=0, exclude=True)
    retention_days: int | None = Field(default=None, ge=1, exclude=True)

    @property
    def is_windowed(self) -> bool:
        """Whether the query is asked by UTC day."""
        return bool(_BIND.search(self.query))

    @model_validator(mode="after")
    def _window_is_whole(self) -> Self:
        named = set(_BIND.findall(self.query))
        if len(named) == 1:
            msg = "'query' names one end of its window; name :window_start and :window_end, or neither"
            raise ValueError(msg)
        if bool(named) != (self.start_date is not None):
            msg = "'start_date' belongs to a query that names :window_start and :window_end, and only to such"
            raise ValueError(msg)
        return self

    def parameters(self, window: Window) -> dict[str, Any]:
        """Give the values of the query's parameters: instants in UTC, without a zone."""
        if not self.is_windowed:
            return {}
        return {"window_start": window.start_at.replace(tzinfo=None), "window_end": window.end_at.replace(tzinfo=None)}


def _rows(database: Database, options: KpiQueryOptions, window: Window) -> Iterator[dict[str, Any]]:
    """Give the rows of a window; raises PermanentSourceError when a mapped column is not among the query's."""
    mapped = [column for column in options.columns.values() if isinstance(column, str)]
    for position, row in enumerate(database.rows(options.query, options.parameters(window))):
        if not position and (absent := [name for name in mapped if name.split(".")[0] not in row]):
            msg = (
                f"Asked {database.address} for {options.name}: the query has no column {', '.join(map(repr, absent))}, "
                f"it has {', '.join(map(repr, row))}. Correct `columns` or `query` in the source configuration."
            )
            raise PermanentSourceError(msg)
        yield row


def _read(options: KpiQueryOptions, context: PullContext) -> Iterator[InputPull]:
    database = Database(options.database)
    source = WindowedSource(
        name=options.name,
        address=f"{database.address}/{options.name}",
        lookback=timedelta(days=options.lookback_days if options.is_windowed else 0),
        retention=timedelta(days=options.retention_days) if options.is_windowed and options.retention_days else None,
        question=options.query,
    )
    windows = days(options.start_date, context.now) if options.start_date else iter([WHOLE])

    def ask(window: Window) -> Iterator[dict[str, Any]]:
        return _rows(database, options, window)

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        return score_batches(path, input_uri, options)

    yield from window_inputs(source, context, windows, ask, read)


def _check(options: KpiQueryOptions, context: PullContext) -> str:
    database = Database(options.database)
    window = day_of(context.now) if options.is_windowed else WHOLE
    row_count = len(list(islice(_rows(database, options, window), 1)))
    found = "with rows" if row_count else "without a row"
    return f"{database.address}: the query runs, {found}{' today' if options.is_windowed else ''}"


connector = Connector(
    kind="kpi_query",
    feed="kpis",
    entities=(SCORES,),
    options=KpiQueryOptions,
    read=_read,
    check=_check,
    staged_with="kpi_files",
)
