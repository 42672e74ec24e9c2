"""KPI scores from a paged HTTP JSON API: one score per record of its pages, mapped by name.

What the query calls the ends of a window, where a page has its records and how the next page is asked for is declared.
Without a window the whole answer is one input, asked for at each pull. Of a record only the mapped members are kept.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._api import (
    Api,
    ApiOptions,
    ApiRequest,
    Paging,
    cursor_pages,
    linked_pages,
    numbered_pages,
    offset_pages,
    single_page,
    token_pages,
)
from dagster_project.sources._connector import (
    Batch,
    Connector,
    EnvironmentSecret,
    InputPull,
    PullContext,
    secret_origin,
)
from dagster_project.sources._json import member
from dagster_project.sources._kpis import SCORES, KpiOptions, score_batches
from dagster_project.sources._windows import WHOLE, Window, WindowedSource, day_of, days, window_inputs


class _Paging(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenPaging(_Paging):
    """The body holds a token for the next page at the dotted path `token`; it is sent as `param`."""

    type: Literal["token"]
    token: str
    param: str
    has_more: str | None = None

    def pages(self, _: str) -> Paging:
        """Give the way of turning pages."""
        return token_pages(self.token, self.param, self.has_more)


class CursorPaging(_Paging):
    """The next page begins after the last record, whose member `record_id` is sent as `param`."""

    type: Literal["cursor"]
    record_id: str
    param: str
    has_more: str | None = None

    def pages(self, records: str) -> Paging:
        """Give the way of turning pages."""
        return cursor_pages(records, self.record_id, self.param, self.has_more)


class NumberPaging(_Paging):
    """Pages are numbered from `first`; the body holds the number of the last one at the dotted path `last`."""

    type: Literal["number"]
    param: str
    last: str
    first: int = 1

    def pages(self, _: str) -> Paging:
        """Give the way of turning pages."""
        return numbered_pages(self.param, self.last, self.first)


class OffsetPaging(_Paging):
    """Pages have `limit` records, begin at an offset, and end with one that has fewer."""

    type: Literal["offset"]
    limit: int = Field(ge=1)
    param: str = "offset"
    limit_param: str = "limit"

    def pages(self, records: str) -> Paging:
        """Give the way of turning pages."""
        return offset_pages(records, self.limit, self.param, self.limit_param)


class LinkPaging(_Paging):
    """The Link header names the next page."""

    type: Literal["link"]

    def pages(self, _: str) -> Paging:
        """Give the way of turning pages."""
        return linked_pages


class WindowParams(BaseModel):
    """What the query calls the ends of a UTC day, the second of which is not in it, and how it writes instants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str
    end: str
    format: Literal["iso", "date", "unix_s"] = "iso"

    def of(self, window: Window) -> tuple[tuple[str, str], ...]:
        """Give a window as values of the query."""
        return ((self.start, self._text(window.start_at)), (self.end, self._text(window.end_at)))

    def _text(self, at: datetime) -> str:
        match self.format:
            case "date":
                return at.date().isoformat()
            case "unix_s":
                return str(int(at.timestamp()))
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class KpiApi(ApiOptions):
    """How an API for KPI scores is reached.

    Attributes:
        key_header: Header that the key goes into.
        key_prefix: What stands before the key in it.
        start_date: First UTC day of an API with windows.
        lookback_days: For how many days after its end a window may still change.
        retention_days: After how many days the API forgets records; days that may be cut are left as they landed.
    """

    key_header: str = Field(default="Authorization", exclude=True)
    key_prefix: str = Field(default="Bearer ", exclude=True)
    start_date: date | None = Field(default=None, exclude=True)
    lookback_days: int = Field(default=7, ge=0, exclude=True)
    retention_days: int | None = Field(default=None, ge=1, exclude=True)


class KpiApiOptions(KpiOptions):
    """Options of an API for KPI scores.

    Attributes:
        api: How it is reached.
        path: Below the API's address.
        params: Values of the query that are always the same.
        records: Dotted path of a page's records; empty when the page is the list.
        paging: How the next page is asked for; None when there is one page.
        window: How the query bounds a UTC day; None when it is always asked for all.
    """

    api: KpiApi
    path: str = Field(min_length=1)
    params: dict[str, str] = Field(default_factory=dict)
    records: str = "data"
    paging: (
        Annotated[TokenPaging | CursorPaging | NumberPaging | OffsetPaging | LinkPaging, Field(discriminator="type")]
        | None
    ) = Field(default=None, exclude=True)
    window: WindowParams | None = Field(default=None, exclude=True)

    @model_validator(mode="after")
    def _window_has_a_start(self) -> Self:
        if (self.window is None) != (self.api.start_date is None):
            msg = "'window' and the API's 'start_date' belong together: give both, or neither to ask for all each time"
            raise ValueError(msg)
        if self.keep_unmapped:
            msg = "'keep_unmapped' would keep what nobody chose; map attributes_json to what is to be kept"
            raise ValueError(msg)
        return self

    def request(self, window: Window) -> ApiRequest:
        """Give the request for the first page of a window."""
        bounds = self.window.of(window) if self.window else ()
        first = ApiRequest(self.path, (*self.params.items(), *bounds))
        if isinstance(self.paging, OffsetPaging):
            return first.having(self.paging.limit_param, self.paging.limit)
        return first


def _api(options: KpiApiOptions) -> Api:
    key = options.api.key
    if key is None:
        return Api(options.api, {})
    value = f"{options.api.key_prefix}{key.get_secret_value()}"
    header: SecretStr = EnvironmentSecret.of(value, secret_origin(key))
    return Api(options.api, {options.api.key_header: header})


def _listed(api: Api, options: KpiApiOptions, page: Any) -> list[Any]:  # noqa: ANN401 - JSON
    found = member(page, options.records) if options.records else page
    if isinstance(found, list):
        return found
    msg = (
        f"Asked {api.address(options.path)}: a page has no list at {options.records or 'its top'!r}, expected one. "
        "Correct `records` in the source configuration."
    )
    raise PermanentSourceError(msg)


def _mapped(options: KpiApiOptions) -> list[str]:
    """Give the names of the members that are read of a record, and nothing else is spooled."""
    return [column for column in options.columns.values() if isinstance(column, str)]


def _records(api: Api, options: KpiApiOptions, window: Window) -> Iterator[dict[str, Any]]:
    mapped = _mapped(options)
    paging = options.paging.pages(options.records) if options.paging else single_page
    for page in api.pages(options.request(window), paging):
        for record in _listed(api, options, page):
            content = record if isinstance(record, dict) else {}
            yield {name: content[name] if name in content else member(content, name) for name in mapped}


def _source(api: Api, options: KpiApiOptions) -> WindowedSource:
    return WindowedSource(
        name=options.name,
        address=api.address(options.path),
        lookback=timedelta(days=options.api.lookback_days if options.window else 0),
        retention=timedelta(days=options.api.retention_days) if options.window and options.api.retention_days else None,
        question=repr((options.request(WHOLE), options.records, sorted(_mapped(options)))),
    )


def _read(options: KpiApiOptions, context: PullContext) -> Iterator[InputPull]:
    windows = days(options.api.start_date, context.now) if options.api.start_date else iter([WHOLE])

    def read(path: Path, input_uri: str) -> Iterator[Batch]:
        return score_batches(path, input_uri, options)

    with _api(options) as api:
        yield from window_inputs(
            _source(api, options), context, windows, lambda window: _records(api, options, window), read
        )


def _check(options: KpiApiOptions, context: PullContext) -> str:
    window = day_of(context.now) if options.window else WHOLE
    with _api(options) as api:
        found = _listed(api, options, api.ask(options.request(window)).content)
        return f"{api.address(options.path)}: {len(found):,} records on the first page"


connector = Connector(
    kind="kpi_api",
    feed="kpis",
    entities=(SCORES,),
    options=KpiApiOptions,
    read=_read,
    check=_check,
    staged_with="kpi_files",
)
