"""What the sources of bought capacity share: how busy it was, and which units are deployed.

Azure, AWS, Google and Prometheus answer in pages of JSON; a file holds one page, a list of pages, or a page per line.
A kind turns a page into findings, each of which becomes a record of `measurements` or of `deployments`, or a reject.
What a measurement means for cost is the warehouse's business.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._api import ApiOptions
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Entity,
    FilePatternField,
    InputPull,
    PullContext,
    Reject,
    SourceOptions,
    StorageOptions,
)
from dagster_project.sources._files import inputs_at, open_bytes, text_lines
from dagster_project.sources._json import writable
from dagster_project.sources._reports import ResultError, pages_of
from dagster_project.sources._windows import Window, WindowedSource, day_of, days, spooled, window_inputs

MEASURES = (
    "utilization_share", "utilization_percent", "input_tokens", "cache_read_tokens", "output_tokens", "work_tokens",
)  # fmt: skip
"""What a measurement may say of a deployment, each record one of them: the busy share of an instance at an instant, or
the tokens of the period that begins at it, as counted (`input_tokens` without what was read from a cache) or already
weighted to input-token equivalents (`work_tokens`)."""

MEASUREMENTS = Entity(
    name="measurements",
    schema=pa.schema(
        [
            ("deployment_id", pa.string()),
            ("instance_id", pa.string()),
            ("utilization_share", pa.float64()),
            ("utilization_percent", pa.float64()),
            ("input_tokens", pa.int64()),
            ("cache_read_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("work_tokens", pa.int64()),
            ("measured_at", UTC_TIMESTAMP),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="measured_at",
)

DEPLOYMENTS = Entity(
    name="deployments",
    schema=pa.schema(
        [
            ("deployment_id", pa.string()),
            ("commitment_id", pa.string()),
            ("provider_name", pa.string()),
            ("model_id", pa.string()),
            ("publisher_name", pa.string()),
            ("deployment_type", pa.string()),
            ("region_id", pa.string()),
            ("scope_id", pa.string()),
            ("allocated_units", pa.int64()),
            ("instance_id", pa.string()),
            ("spillover_deployment_id", pa.string()),
            ("starts_at", UTC_TIMESTAMP),
            ("ends_at", UTC_TIMESTAMP),
            ("is_snapshot", pa.bool_()),
            ("observed_at", UTC_TIMESTAMP),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="observed_at",
    may_be_empty=True,
)
"""Units that a deployment holds. Of a snapshot (`is_snapshot`) the rows of one `observed_at` are all that was there,
and hold until the source's next one; a row without a deployment says that there was none. Of an inventory each row
holds from `starts_at` to `ends_at`, and `observed_at` is its start."""


class CapacityApiOptions(ApiOptions):
    """How a provider's API is asked about capacity, day by day.

    Attributes:
        start_date: First UTC day to ask for.
        lookback_hours: How long after its end a day may still get records.
    """

    start_date: date = Field(exclude=True)
    lookback_hours: float = Field(default=6, ge=0, exclude=True)


class CapacityOptions(SourceOptions):
    """Options of a source of bought capacity: files of an API's answers, or the API.

    Attributes:
        path: The files.
        storage: How their object store is reached.
        api: Where and since when to ask.
    """

    path: FilePatternField | None = None
    storage: StorageOptions = Field(default={}, exclude=True)
    api: CapacityApiOptions | None = None

    @model_validator(mode="after")
    def _has_one_place(self) -> "CapacityOptions":
        if (self.path is None) == (self.api is None):
            msg = "expected either `path` (files) or `api` (asked), and not both"
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class Question:
    """What an API is asked.

    Attributes:
        address: Its public address.
        ask: Gives the pages of a day.
        is_present_only: Whether it tells the present only, so that no past day can be asked for.
        retention: How long after its start the API can still be asked for a day; None for always.
        wording: What of the options decides the answer; a day that settled is asked for again only when it changes.
        ask_again: Gives the pages of a day for which there are former ones, which it is given; `ask` when it is None.
    """

    address: str
    ask: Callable[[Window], Iterable[Any]]
    is_present_only: bool = False
    retention: timedelta | None = None
    wording: str = ""
    ask_again: Callable[[Window, Iterable[Any]], Iterable[Any]] | None = None


def observed(pages: Iterable[Mapping[str, Any]], window: Window) -> Iterator[Mapping[str, Any]]:
    """Date the pages of a list of what there is: it is a snapshot of the day."""
    for page in pages:
        yield {**page, "observed_at": window.start_at.isoformat()}


_BATCH_ROWS = 16_384
_LINE_LIMIT_BYTES = 256 * 1024 * 1024
_INT64_LIMIT = 2**63


@dataclass(frozen=True)
class Finding:
    """One record of a page.

    Attributes:
        entity: The entity that it belongs to.
        content: What it came as, for a reject.
        columns: Gives the entity's columns; raises ResultError.
    """

    entity: Entity
    content: object
    columns: Callable[[], Mapping[str, Any]]


PageReader = Callable[[Mapping[str, Any]], Iterator[Finding]]
"""Gives a page's findings; raises ResultError for a page that is none of the kind's."""


def page_batches(
    path: Path, input_uri: str, read: PageReader, *, unknown: Entity, others: tuple[Entity, ...] = ()
) -> Iterator[Batch]:
    """Read a file of pages into batches, page by page.

    Args:
        path: The file.
        input_uri: Its name in messages.
        read: The kind's reader of one page.
        unknown: The entity that takes the rejects of pages that cannot be read.
        others: The other entities of the kind.

    Raises:
        PermanentSourceError: no part of the file is JSON.
    """
    collectors = {entity.name: _Collector(entity) for entity in (unknown, *others)}
    for page in _pages(path, input_uri):
        for finding in _findings(page, read, unknown):
            collector = collectors[finding.entity.name]
            collector.add(finding)
            if collector.is_full:
                yield collector.batch()
    for collector in collectors.values():
        if collector.rows_read:
            yield collector.batch()


def _pages(path: Path, input_uri: str) -> Iterator[object]:
    """Give the pages; a page per line one at a time, any other form at once."""
    lines = text_lines(path, input_uri, limit_bytes=_LINE_LIMIT_BYTES)
    first = next((line for line, _ in lines), b"")
    try:
        is_page = isinstance(json.loads(first), dict) if first else False
    except ValueError:
        is_page = False
    if not is_page:
        with open_bytes(path, input_uri) as stream:
            content = stream.read()
        yield from pages_of(content, input_uri) if content.strip() else ()
        return
    yield writable(json.loads(first))
    for line, is_whole in lines:
        text = line.decode("utf-8", "backslashreplace")
        try:
            yield writable(json.loads(text)) if is_whole else text
        except ValueError:
            yield text


def _findings(page: object, read: PageReader, unknown: Entity) -> Iterator[Finding]:
    try:
        if not isinstance(page, dict):
            code = "json_broken"
            raise ResultError(code, "the line is no JSON object")
        yield from read(page)
    except ResultError as error:
        yield Finding(unknown, page, _raising(error))


def _raising(error: ResultError) -> Callable[[], Mapping[str, Any]]:
    def columns() -> Mapping[str, Any]:
        raise error

    return columns


class _Collector:
    """Collects the records and rejects of one entity of one input, a batch at a time."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._rows: list[Mapping[str, Any]] = []
        self._indices: list[int] = []
        self._rejects: list[Reject] = []
        self._next_index = 0
        self.rows_read = 0

    @property
    def is_full(self) -> bool:
        return self.rows_read >= _BATCH_ROWS

    def add(self, finding: Finding) -> None:
        index = self._next_index
        self._next_index += 1
        self.rows_read += 1
        try:
            self._rows.append(finding.columns())
        except ResultError as error:
            text = finding.content if isinstance(finding.content, str) else _json(finding.content)
            self._rejects.append(Reject.of(index, error.code, str(error), text))
        else:
            self._indices.append(index)

    def batch(self) -> Batch:
        schema = self._entity.schema
        records = pa.RecordBatch.from_pylist(
            [{name: row.get(name) for name in schema.names} for row in self._rows], schema
        )
        batch = Batch(
            self._entity.name, records, pa.array(self._indices, pa.int64()), self.rows_read, tuple(self._rejects)
        )
        self._rows, self._indices, self._rejects, self.rows_read = [], [], [], 0
        return batch


@dataclass(frozen=True)
class CapacitySource:
    """A kind of source of bought capacity: how its pages read, and how its API is asked.

    Attributes:
        find: Gives the findings of a page under the source's options; raises ResultError for a page that is none of the
            kind's.
        entities: What it lands; the first one takes the rejects of pages that cannot be read.
        opened: Opens the API of the source's options at an instant, and gives what it is to be asked.
    """

    find: Callable[[Any, Mapping[str, Any]], Iterator[Finding]]
    entities: tuple[Entity, ...]
    opened: Callable[[Any, datetime], AbstractContextManager[Sequence[Question]]]

    def inputs(self, options: CapacityOptions, context: PullContext) -> Iterator[InputPull]:
        """List a source's files, or the days that its API is to be asked for, as inputs."""
        unknown, *others = self.entities
        read = partial(page_batches, read=partial(self.find, options), unknown=unknown, others=tuple(others))
        if options.path is not None:
            yield from inputs_at(options.path, options.storage, context, read)
        if options.api is None:
            return
        with self.opened(options, context.now) as questions:
            for question in questions:
                lookback = timedelta() if question.is_present_only else timedelta(hours=options.api.lookback_hours)
                asked = WindowedSource(options.name, question.address, lookback, question.retention, question.wording)
                today = context.now.astimezone(UTC).date()
                first = max(options.api.start_date, today) if question.is_present_only else options.api.start_date
                ask = partial(_asked, question, asked, context)
                is_away = yield from window_inputs(asked, context, days(first, context.now), ask, read)
                if is_away:
                    return

    def check(self, options: CapacityOptions, context: PullContext) -> str | None:
        """Ask each question for a page of the day before; None for a source of files.

        Raises:
            PermanentSourceError: the API refuses.
            TransientSourceError: it cannot be reached, or does not answer in full.
        """
        if options.api is None:
            return None
        window = day_of(context.now - timedelta(days=1))
        with self.opened(options, context.now) as questions:
            pages = [page for question in questions for page in islice(question.ask(window), 1)]
            addresses = ", ".join(question.address for question in questions)
        found = [item for page in pages for item in _findings(page, partial(self.find, options), self.entities[0])]
        reasons = [reason for reason in map(_wrong, found) if reason is not None]
        if found and len(reasons) == len(found):
            msg = (
                f"Asked {addresses} for {window.name}: none of {len(found)} records can be read; the first one: "
                f"{reasons[0]}. Correct `url` or what is asked for in the source configuration."
            )
            raise PermanentSourceError(msg)
        count = len(found) - len(reasons)
        return f"{addresses}: answered, {count} records on the first pages of {window.name}"


def _asked(question: Question, source: WindowedSource, context: PullContext, window: Window) -> Iterable[Any]:
    if question.ask_again is None:
        return question.ask(window)
    return question.ask_again(window, spooled(source, context, window))


def _wrong(finding: Finding) -> str | None:
    """Say why a finding is no record; None when it is one."""
    try:
        finding.columns()
    except ResultError as error:
        return str(error)
    return None


# ---- values


def instant(value: object, name: str) -> datetime:
    """Give an instant, of RFC 3339 text (UTC when it names no zone) or of seconds since 1970.

    Raises:
        ResultError: it is neither.
    """
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value)
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    code = "value_missing" if value is None else "value_unparsable"
    raise ResultError(code, f"{name} {value!r} is not an instant")


def number(value: object, name: str) -> float:
    """Give a finite number, of a number or its text.

    Raises:
        ResultError: it is none, NaN for instance, with which Prometheus says that there is no value.
    """
    try:
        read = (
            float(value) if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool) else math.nan
        )
    except ValueError:
        read = math.nan
    if not math.isfinite(read):
        code = "value_missing" if value is None else "value_unparsable"
        raise ResultError(code, f"{name} {value!r} is not a finite number")
    return read


def whole(value: object, name: str) -> int:
    """Give a whole number of 64 bits, of a number or its text; int64 is text in Google's JSON.

    Raises:
        ResultError: it is none.
    """
    read: float | int = number(value, name)
    if isinstance(value, int) or (isinstance(value, str) and value.strip().lstrip("+-").isdigit()):
        read = int(value)
    if read != int(read) or abs(read) >= _INT64_LIMIT:
        code = "value_unparsable"
        raise ResultError(code, f"{name} {value!r} is not a whole number of 64 bits")
    return int(read)


def present(value: object, name: str) -> str:
    """Give a text that is not empty.

    Raises:
        ResultError: it is absent or empty.
    """
    if isinstance(value, str) and value:
        return value
    code = "value_missing"
    raise ResultError(code, f"{name} is empty, expected a name")


def member(content: object, *names: str) -> Any:  # noqa: ANN401 - JSON
    """Give a member of members; None when one of them is absent."""
    value: Any = content
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def unreadable(reason: str) -> Mapping[str, Any]:
    """Refuse a series whose shape is none of the kind's.

    Raises:
        ResultError: always.
    """
    code = "series_unknown"
    raise ResultError(code, reason)


def attributes(values: Mapping[str, Any], known: Iterable[str] = ()) -> str | None:
    """Write the members that have no column as JSON, nulls left out; None when nothing is left."""
    known = set(known)
    others = {name: value for name, value in values.items() if name not in known and value is not None}
    return _json(others) if others else None


def _json(value: object) -> str:
    return json.dumps(value, default=str, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
