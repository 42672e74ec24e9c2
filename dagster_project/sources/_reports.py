"""What providers' usage and cost reports share: pages in, one record per result of a bucket out.

Both documented APIs answer with pages of buckets of time (`data`), each of which has `results`. A file holds one page,
a list of pages, or a page per line. An API is asked day by day, and a day's pages are spooled to such a file, so that
both are read alike. Numbers are read exactly, as integers and decimals. A bucket that a file holds twice
counts as it stands last, result by result: what its former copy said of the same dimensions is rejected. What a later
file says of a bucket is SQL's business, and so is which counts overlap.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import partial
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pydantic import Field, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._api import Api, ApiOptions, ApiRequest, token_pages, words_of
from dagster_project.sources._connector import (
    UTC_TIMESTAMP,
    Batch,
    Entity,
    FilePatternField,
    HeaderSecret,
    InputPull,
    PullContext,
    Reject,
    SourceOptions,
    StorageOptions,
)
from dagster_project.sources._files import UTF8_MARK, dated, inputs_at, open_bytes, refuse_utf16
from dagster_project.sources._json import exact, member
from dagster_project.sources._windows import WHOLE, Window, WindowedSource, day_of, days, window_inputs

AMOUNT_TYPE = pa.decimal128(38, 18)

BUCKET_COLUMNS = [
    ("bucket_start_at", UTC_TIMESTAMP),
    ("bucket_end_at", UTC_TIMESTAMP),
    ("billing_account_id", pa.string()),
    ("modified_at", UTC_TIMESTAMP),
]
DIMENSION_COLUMNS = [
    ("model_name", pa.string()),
    ("service_tier", pa.string()),
    ("region_id", pa.string()),
    ("context_window", pa.string()),
    ("project_id", pa.string()),
    ("api_key_id", pa.string()),
    ("user_id", pa.string()),
]

COSTS = Entity(
    name="costs",
    schema=pa.schema(
        [
            *BUCKET_COLUMNS,
            ("line_name", pa.string()),
            ("cost_type", pa.string()),
            ("token_type", pa.string()),
            *DIMENSION_COLUMNS,
            ("amount", AMOUNT_TYPE),
            ("list_amount", AMOUNT_TYPE),
            ("currency", pa.string()),
            ("quantity", AMOUNT_TYPE),
            ("quantity_unit", pa.string()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="bucket_start_at",
    amount_columns=("amount",),
    user_columns=("user_id",),
)
"""Result of a cost report: what a provider says that an account's use of a day cost, in whole units of the currency."""

_AMOUNT_STEP = Decimal("1E-18")
_AMOUNT_LIMIT = Decimal("1E20")
# More digits than any amount has, so that only the last step rounds.
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_CURRENCY = re.compile(r"[A-Z]{3}")
_INT64_LIMIT = 2**63


class ReportApi(ApiOptions):
    """How a provider's report is asked for.

    Attributes:
        key: A key that may read reports, `${NAME}`.
        start_date: First UTC day that is asked for.
        lookback_days: How long after its end a day may still change.
        group_by: Dimensions of the report; one that it is not grouped by is unknown.
    """

    key: HeaderSecret = Field(exclude=True)
    start_date: date = Field(exclude=True)
    lookback_days: int = Field(default=3, ge=0, le=90, exclude=True)
    group_by: tuple[str, ...] = ()


class ReportOptions(SourceOptions):
    """Options of a provider's report: files (`path`) or the API itself (`api`).

    Attributes:
        path: The API's answers as files.
        api: How it is asked.
        billing_account_id: The account that the pages are of, as its invoices name it; no page says it.
    """

    path: FilePatternField | None = None
    storage: StorageOptions = Field(default={}, exclude=True)
    api: ReportApi | None = None
    billing_account_id: str = Field(min_length=1)

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.path is None) == (self.api is None):
            msg = "expected either `path` (files) or `api` (asked), and not both"
            raise ValueError(msg)
        return self


class ResultError(ValueError):
    """A result that cannot be landed; `code` is its reason_code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Unreadable:
    """A part of a page that holds no results.

    Attributes:
        reason: What is wrong with it; its code is the reject's.
        content: The part.
    """

    reason: ResultError
    content: object


@dataclass(frozen=True)
class ReportFormat:
    """How one API's results become records.

    Attributes:
        entity: What they land as.
        start: Member of a bucket that holds its start; seconds since 1970 or RFC 3339.
        end: Member that holds its end.
        measures: Members of a result that count or cost; the others say of what.
        columns: Gives the entity's columns of a result, without bucket and account; raises ResultError.
        bucket: Gives the bucket that an item of a page is; the item itself as a rule.
        pages: Gives an input's pages, under the source's options, as pages of buckets or Unreadable parts of them; the
            pages themselves as a rule.
    """

    entity: Entity
    start: str
    end: str
    measures: frozenset[str]
    columns: Callable[[Mapping[str, Any]], dict[str, Any]]
    bucket: Callable[[Any], Any] = lambda item: item
    pages: Callable[[Any, Iterable[Any]], Iterable[Any]] = lambda _, pages: pages


@dataclass(frozen=True)
class ReportEndpoint:
    """One path of an API that answers with pages of a report.

    Attributes:
        path: Below the API's address.
        query: Gives the query for a day.
    """

    path: str
    query: Callable[[Window], tuple[tuple[str, str], ...]]


def _linked_by_token(api: Api, request: ApiRequest) -> Iterator[Any]:
    """Give the pages of a list `data`.

    Raises:
        TransientSourceError: a page is none, or says of another one and not which.
    """
    for page in api.pages(request, token_pages("next_page", "page", "has_more")):
        if not isinstance(member(page, "data"), list):
            raise api.incomplete(request.path, "has no list 'data'", words_of(page))
        if member(page, "has_more") and not member(page, "next_page"):
            raise api.incomplete(request.path, "says that there is more and not where")
        yield page


@dataclass(frozen=True)
class Report:
    """A report: how it reads, and how its API is asked.

    Attributes:
        form: How its results read.
        opened: Gives the client of the options' API.
        endpoints: Gives what is asked for from the options, one after the other.
        asked: Gives the pages of the answer to a request.
        retention: How long after its start the API can still be asked for a day; None for always.
    """

    form: ReportFormat
    opened: Callable[[Any], Api]
    endpoints: Callable[[Any], Sequence[ReportEndpoint]]
    asked: Callable[[Api, ApiRequest], Iterator[Any]] = _linked_by_token
    retention: timedelta | None = None

    def inputs(self, options: ReportOptions, context: PullContext) -> Iterator[InputPull]:
        """List the files of a report, or its days, as inputs."""
        read = partial(self._read, options)
        if options.path is not None:
            yield from map(dated, inputs_at(options.path, options.storage, context, read))
        if options.api is None:
            return
        with self.opened(options.api) as api:
            for endpoint in self.endpoints(options.api):
                lookback = timedelta(days=options.api.lookback_days)
                question = repr(endpoint.query(WHOLE))
                source = WindowedSource(options.name, api.address(endpoint.path), lookback, self.retention, question)
                windows = days(options.api.start_date, context.now)
                ask = partial(self._pages, api, endpoint)
                is_away = yield from window_inputs(source, context, windows, ask, read)
                if is_away:
                    return

    def check(self, options: ReportOptions, context: PullContext) -> str | None:
        """Ask each endpoint for the day before; None for a report of files.

        Raises:
            PermanentSourceError: the API refuses.
            TransientSourceError: it cannot be reached, or does not answer in full.
        """
        if options.api is None:
            return None
        window = day_of(context.now - timedelta(days=1))
        with self.opened(options.api) as api:
            asked = self.endpoints(options.api)
            found = [next(iter(self._pages(api, endpoint, window))) for endpoint in asked]
        batch = report_batch(self.form.pages(options, found), self.form, options.billing_account_id)
        if batch.rejects and len(batch.rejects) == batch.rows_read:
            msg = (
                f"Asked {options.api.url} for {window.name}: none of {batch.rows_read} results can be read; "
                f"the first one: {batch.rejects[0].reason}. Correct `url`, or report the answer."
            )
            raise PermanentSourceError(msg)
        results = batch.rows_read - len(batch.rejects)
        return f"key accepted, {len(asked)} reports asked, {results} results on the first pages of {window.name}"

    def _pages(self, api: Api, endpoint: ReportEndpoint, window: Window) -> Iterator[Any]:
        """Give the pages of a day, without what is of the asking alone and without what is of another day."""
        request = ApiRequest(endpoint.path, endpoint.query(window))
        for page in self.asked(api, request):
            items = member(page, "data")
            if isinstance(items, list):
                yield {"data": [item for item in items if not self._is_of_another_day(item, window)]}
            else:
                yield page

    def _is_of_another_day(self, item: object, window: Window) -> bool:
        try:
            start_at = _instant(item if isinstance(item, dict) else {}, self.form.start)
        except ResultError:
            return False
        return not window.start_at <= start_at < window.end_at

    def _read(self, options: ReportOptions, path: Path, input_uri: str) -> Iterator[Batch]:
        with open_bytes(path, input_uri) as stream:
            content = stream.read()
        is_keyed = "api_key_id" in options.api.group_by if options.api else None
        # A day without pages is a day without results.
        pages = pages_of(content, input_uri) if content or options.api is None else []
        read = self.form.pages(options, pages)
        yield report_batch(read, self.form, options.billing_account_id, has_api_keys=is_keyed)


def pages_of(content: bytes, input_uri: str) -> list[Any]:
    """Read a page, a list of pages, or a page per line; a line that is no JSON stays the text that it is.

    Raises:
        PermanentSourceError: no part of the content is JSON.
    """
    refuse_utf16(content[:4], input_uri)
    text = content.removeprefix(UTF8_MARK).decode("utf-8", "backslashreplace")
    try:
        whole = exact(text)
    except ValueError as error:
        lines = [line for line in io.StringIO(text) if line.strip()]
        pages = [_parsed_or_text(line) for line in lines]
        if all(isinstance(page, str) for page in pages):
            msg = (
                f"Read {input_uri}: it is not JSON ({error}), expected a page of the report, a list of pages or a page "
                "per line. Deliver the API's answer as it came."
            )
            raise PermanentSourceError(msg) from error
        return pages
    return whole if isinstance(whole, list) else [whole]


def report_batch(
    pages: Iterable[Any], form: ReportFormat, billing_account_id: str, *, has_api_keys: bool | None = None
) -> Batch:
    """Turn the pages of one pull into records; what cannot be read is rejected result by result.

    Args:
        pages: Pages of buckets as exact JSON.
        form: How their results read.
        billing_account_id: The account that they are of.
        has_api_keys: Whether the report tells keys apart; None when only its results can say so.
    """
    reader = _Reader(form, billing_account_id, has_api_keys)
    for page in pages:
        reader.add_page(page)
    return reader.batch()


# ---- values of results


def text(value: object) -> str | None:
    """Give a member that is text; an empty one is null."""
    return str(value) if value not in (None, "") else None


def count(result: Mapping[str, Any], name: str) -> int | None:
    """Give a whole number; null and an absent member are unknown.

    Raises:
        ResultError: it is no whole number of 64 bits.
    """
    value = result.get(name)
    if value is None:
        return None
    is_whole = isinstance(value, int | Decimal) and not isinstance(value, bool) and value == int(value)
    if not is_whole or abs(value) >= _INT64_LIMIT:
        code = "value_unparsable"
        raise ResultError(code, f"{name} {value!r} is not a whole number of 64 bits")
    return int(value)


def amount(value: object, name: str, *, shift: int = 0) -> Decimal | None:
    """Give a number, or a text of one, divided by ten to the power of `shift`; beyond the 18th decimal it is rounded.

    Raises:
        ResultError: it is no number, or does not fit.
    """
    if value is None:
        return None
    try:
        read = Decimal(str(value)) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
    except ArithmeticError:
        read = None
    if read is None or not read.is_finite() or abs(read) >= _AMOUNT_LIMIT:
        code = "value_unparsable"
        raise ResultError(code, f"{name} {value!r} is not a decimal number below 1E20")
    return read.scaleb(-shift, _EXACT).quantize(_AMOUNT_STEP, context=_EXACT)


def money(value: object, currency: object, *, shift: int = 0) -> dict[str, Any]:
    """Give the columns amount and currency.

    Raises:
        ResultError: one of them is absent or cannot be read.
    """
    read = amount(value, "amount", shift=shift)
    if read is None:
        code = "value_missing"
        raise ResultError(code, "amount is empty, expected a number")
    code_of_currency = str(currency or "").upper()
    if not _CURRENCY.fullmatch(code_of_currency):
        code = "value_unknown"
        raise ResultError(code, f"currency {currency!r} is no ISO 4217 code such as USD")
    return {"amount": read, "currency": code_of_currency}


def others_json(result: Mapping[str, Any], known: Iterable[str]) -> str | None:
    """Write the members that have no column as JSON, nulls left out; null when nothing is left.

    A known `a.b` is the member b of a; what else is in a stands under its own such name.
    """
    known = set(known)
    parts = {name.partition(".")[0] for name in known if "." in name}
    flat: dict[str, Any] = {}
    for name, value in result.items():
        inner = isinstance(value, dict) and name in parts
        flat |= {f"{name}.{part}": item for part, item in value.items()} if inner else {name: value}
    others = {name: value for name, value in flat.items() if name not in known and value is not None}
    return _json(others) if others else None


# ---- pages


@dataclass(frozen=True)
class _Result:
    """One result, where it stood and what it is of."""

    record_index: int
    key: str
    bucket_copy: int
    columns: dict[str, Any]
    content: Mapping[str, Any]


class _Reader:
    """Collects the results of one input."""

    def __init__(self, form: ReportFormat, billing_account_id: str, has_api_keys: bool | None) -> None:  # noqa: FBT001
        self._form = form
        self._billing_account_id = billing_account_id
        self._has_api_keys = has_api_keys
        self._results: list[_Result] = []
        self._rejects: list[Reject] = []
        self._next_index = 0
        self._bucket_copies = 0

    def add_page(self, page: object) -> None:
        """Read one page; one without buckets, an error message for instance, is a reject as a whole."""
        if isinstance(page, Unreadable):
            self._reject(self._index(), page.reason.code, str(page.reason), page.content)
            return
        buckets = page.get("data") if isinstance(page, dict) else None
        if not isinstance(buckets, list):
            is_text = isinstance(page, str)
            reason = "the line is not JSON" if is_text else "the page has no list 'data' of buckets"
            self._reject(self._index(), "json_broken" if is_text else "page_unknown", reason, page)
            return
        for item in buckets:
            bucket = self._form.bucket(item)
            results = bucket.get("results") if isinstance(bucket, dict) else None
            if not isinstance(results, list):
                self._reject(self._index(), "bucket_unknown", "the bucket has no list 'results'", bucket)
                continue
            self._bucket_copies += 1
            for result in results:
                self._add(bucket, result)

    def batch(self) -> Batch:
        """Give everything that was read; of a bucket's copies the last one counts, by dimensions."""
        latest = {result.key: result.bucket_copy for result in self._results}
        kept = []
        for result in self._results:
            if result.bucket_copy == latest[result.key]:
                kept.append(result)
            else:
                reason = "the bucket stands again further on, with these dimensions; the last one counts"
                self._reject(result.record_index, "bucket_repeated", reason, result.content)
        # Whether the report tells keys apart: only then does a result without one say that none was used.
        has_api_keys = self._has_api_keys
        if has_api_keys is None:
            has_api_keys = any(result.columns.get("api_key_id") is not None for result in self._results)
        schema = self._form.entity.schema
        rows = [result.columns | {"has_api_keys": has_api_keys} for result in kept]
        records = pa.RecordBatch.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)
        indices = pa.array([result.record_index for result in kept], pa.int64())
        rejects = tuple(sorted(self._rejects, key=lambda reject: reject.record_index))
        return Batch(self._form.entity.name, records, indices, self._next_index, rejects)

    def _add(self, bucket: Mapping[str, Any], result: object) -> None:
        index = self._index()
        try:
            if not isinstance(result, dict):
                code = "result_unknown"
                raise ResultError(code, "the result is not an object")
            columns = self._columns(bucket, result)
        except ResultError as error:
            self._reject(index, error.code, str(error), result)
            return
        dimensions = {name: value for name, value in result.items() if name not in self._form.measures}
        key = _json([str(columns["bucket_start_at"]), str(columns["bucket_end_at"]), dimensions])
        self._results.append(_Result(index, key, self._bucket_copies, columns, result))

    def _columns(self, bucket: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
        start_at, end_at = _instant(bucket, self._form.start), _instant(bucket, self._form.end)
        if end_at <= start_at:
            code = "value_out_of_range"
            raise ResultError(code, f"the bucket ends at {end_at}, not after its start {start_at}")
        return {
            "bucket_start_at": start_at,
            "bucket_end_at": end_at,
            "billing_account_id": self._billing_account_id,
            **self._form.columns(result),
        }

    def _index(self) -> int:
        self._next_index += 1
        return self._next_index - 1

    def _reject(self, index: int, code: str, reason: str, content: object) -> None:
        self._rejects.append(Reject.of(index, code, reason, content if isinstance(content, str) else _json(content)))


def _instant(bucket: Mapping[str, Any], name: str) -> datetime:
    value = bucket.get(name)
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value)
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(int(value), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    code = "value_missing" if value is None else "value_unparsable"
    raise ResultError(code, f"{name} {value!r} of the bucket is not an instant")


def _parsed_or_text(line: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return exact(line)
    except ValueError:
        return line.rstrip("\n")


def _json(value: Sequence[Any] | Mapping[str, Any] | object) -> str:
    return json.dumps(value, default=str, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
