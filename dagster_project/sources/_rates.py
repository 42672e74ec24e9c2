"""What all rate cards share: the raw tables, exact unit prices, weekly price windows, listing of versions.

Rates are landed as the catalogue states them. Which catalogue goes before which, and what stands in for a price that
is not stated, is decided in SQL.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
from pydantic import Field, field_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import UTC_TIMESTAMP, Batch, Entity, InputPull, PullContext, Reject
from dagster_project.sources._http import LocatedOptions, fetched_version_date, located_inputs
from dagster_project.sources._json import readable

PRICE_TYPE = pa.decimal128(18, 15)
MULTIPLIER_TYPE = pa.decimal128(9, 6)
USD = "USD"
STANDARD = "standard"
MILLION = 1_000_000

_PRICE_STEP = Decimal("1E-15")
_PRICE_LIMIT = Decimal(1000)
_MULTIPLIER_STEP = Decimal("1E-6")
# More digits than any price has, so that only the last step rounds.
_EXACT = Context(prec=60)

_KNOWN = [("known_from", UTC_TIMESTAMP), ("evidence_url", pa.string())]
_VALID = [("valid_from", UTC_TIMESTAMP), ("valid_to", UTC_TIMESTAMP)]

RATES = Entity(
    name="rates",
    schema=pa.schema(
        [
            ("provider_name", pa.string()),
            ("model_id", pa.string()),
            ("unit_kind", pa.string()),
            ("price_key", pa.string()),
            ("unit_price", PRICE_TYPE),
            ("pricing_currency", pa.string()),
            ("pricing_unit", pa.string()),
            ("service_tier", pa.string()),
            ("region_id", pa.string()),
            ("context_over_tokens", pa.int64()),
            ("context_up_to_tokens", pa.int64()),
            ("is_threshold_inclusive", pa.bool_()),
            ("week_minute_from", pa.int32()),
            ("week_minute_to", pa.int32()),
            *_VALID,
            *_KNOWN,
        ]
    ),
)

MODEL_PATTERNS = Entity(
    name="model_patterns",
    schema=pa.schema(
        [
            ("provider_name", pa.string()),
            ("model_id", pa.string()),
            ("rate_provider_name", pa.string()),
            ("pattern_group", pa.int64()),
            ("regex", pa.string()),
            ("is_negated", pa.bool_()),
            ("priority", pa.int64()),
            ("known_from", UTC_TIMESTAMP),
        ]
    ),
)

MULTIPLIERS = Entity(
    name="multipliers",
    schema=pa.schema(
        [
            ("provider_name", pa.string()),
            ("model_id", pa.string()),
            ("region_id", pa.string()),
            ("price_key", pa.string()),
            ("multiplier", MULTIPLIER_TYPE),
            *_VALID,
            *_KNOWN,
        ]
    ),
    may_be_empty=True,
)

ALLOWANCES = Entity(
    name="allowances",
    schema=pa.schema(
        [
            ("provider_name", pa.string()),
            ("allowance_group", pa.string()),
            ("model_id", pa.string()),
            ("unit_kind", pa.string()),
            ("price_key", pa.string()),
            ("period_type", pa.string()),
            ("allowance_units", pa.int64()),
            *_VALID,
            *_KNOWN,
        ]
    ),
    may_be_empty=True,
)


# The unit kinds, disjoint; a price of anything else prices nothing.
TOKEN_KINDS = (
    "input", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h", "output", "reasoning", "input_audio",
    "output_audio", "input_image", "embedding", "cache_read_audio", "cache_read_image", "output_image", "input_video",
    "output_video",
)  # fmt: skip
COUNTED_KINDS = (
    "web_search", "request", "image", "page", "input_character", "output_character", "input_second", "output_second",
    "token_hour", "maps_search", "file_search", "rerank_search", "code_session",
)  # fmt: skip


# Measured 2026-11-20: the dearest token that any catalogue prices costs 0.00971; a price per thousand passes this.
MAX_USD_PER_TOKEN = Decimal("0.01")


class RateError(ValueError):
    """A statement of a rate card that cannot be landed: `code` and the reason as text."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


# ---- prices


def unit_price(amount: Decimal, *, per: int = 1) -> Decimal:
    """Bring a price of `per` units to one unit.

    Catalogues hold prices with the dust of binary floats (0.18000000000000002 per million). No vendor prices finer
    than 1E-15 of a currency unit, so what is finer is dust and rounded away; so is the endless part of a price per hour
    that is brought to a second.

    Raises:
        RateError: it is negative, 1000 or more, or rounds to nothing.
    """
    if not amount.is_finite():
        raise RateError("value_unparsable", f"the price {amount} is not a finite number")
    price = _EXACT.divide(amount, Decimal(per))
    if not 0 <= price < _PRICE_LIMIT or (price and price < _PRICE_STEP):
        raise RateError("value_out_of_range", f"the price {amount} per {per:,} is not 0 and not within 1E-15 to 999")
    return price.quantize(_PRICE_STEP)


def plausible(unit_kind: str, price: Decimal) -> Decimal:
    """Give a price in USD back unless it is one of many units that stands as that of one.

    Raises:
        RateError: a token costs more than any ever did.
    """
    if unit_kind in TOKEN_KINDS and price > MAX_USD_PER_TOKEN:
        reason = f"a token at {price.normalize():f} USD is {price * MILLION:,.2f} per million, expected at most 10,000"
        raise RateError("price_implausible", reason)
    return price


def multiplier_of(amount: Decimal) -> Decimal:
    """Check a multiplier of prices; raises RateError when it is not above 0, 1000 or more, or finer than 1E-6."""
    if not amount.is_finite() or not 0 < amount < _PRICE_LIMIT or amount != amount.quantize(_MULTIPLIER_STEP):
        raise RateError("value_out_of_range", f"the multiplier {amount} is not within 0.000001 to 999.999999")
    return amount.quantize(_MULTIPLIER_STEP)


def decimal_of(value: object) -> Decimal:
    """Read a price as it stands in JSON: a number, or a number written as text.

    Raises:
        RateError: it is anything else.
    """
    if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        return Decimal(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", value):
        return Decimal(value.strip())
    raise RateError("value_unparsable", f"{value!r} is not a number")


# ---- windows of the week, in UTC minutes since Monday 00:00

_DAY_MINUTES = 24 * 60
WEEK_MINUTES = 7 * _DAY_MINUTES
EVERY_DAY = frozenset(range(1, 8))
_DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK_WINDOW = re.compile(r"\s*(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)\s*")
# Offsets of a zone are compared in the middle of both half years.
_OFFSET_DATES = (datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC))

ClockWindow = tuple[int, int]
WeekWindow = tuple[int | None, int | None]
ALL_WEEK: tuple[WeekWindow, ...] = ((None, None),)


def clock_window(text: str) -> ClockWindow:
    """Read `HH:MM-HH:MM` as minutes of the day; an end at or before the start lies on the next day.

    Raises:
        RateError: the text is no such window.
    """
    found = _CLOCK_WINDOW.fullmatch(text)
    hours = [int(part) for part in found.groups()] if found else []
    if not hours or hours[0] > 23 or hours[2] > 24 or hours[1] > 59 or hours[3] > 59:  # noqa: PLR2004 - a clock
        raise RateError("window_unparsable", f"the time window {text!r} is not HH:MM-HH:MM")
    return hours[0] * 60 + hours[1], (hours[2] * 60 + hours[3]) % _DAY_MINUTES


@dataclass(frozen=True)
class WindowRule:
    """Daily windows in UTC, on some weekdays (ISO, 1 is Monday) of a calendar that is `offset_minutes` ahead of UTC."""

    clocks: tuple[ClockWindow, ...]
    weekdays: frozenset[int] = EVERY_DAY
    offset_minutes: int = 0


def week_windows(rules: Iterable[WindowRule]) -> tuple[WeekWindow, ...]:
    """Unite rules into disjoint windows of the week, sorted; one that wraps is cut at Monday 00:00 UTC.

    Returns:
        (from, to) in minutes, `to` exclusive; `ALL_WEEK` when every minute is covered.
    """
    is_open = bytearray(WEEK_MINUTES)
    for rule in rules:
        for start, end in rule.clocks:
            span = (end - start) % _DAY_MINUTES or _DAY_MINUTES
            for day in range(7):
                for minute in range(day * _DAY_MINUTES + start, day * _DAY_MINUTES + start + span):
                    local_day = (minute + rule.offset_minutes) % WEEK_MINUTES // _DAY_MINUTES + 1
                    if local_day in rule.weekdays:
                        is_open[minute % WEEK_MINUTES] = 1
    if all(is_open):
        return ALL_WEEK
    edges = [minute for minute in range(WEEK_MINUTES + 1) if _at(is_open, minute) != _at(is_open, minute - 1)]
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def _at(is_open: bytearray, minute: int) -> int:
    return is_open[minute] if 0 <= minute < WEEK_MINUTES else 0


def weekdays_of(value: object) -> frozenset[int]:
    """Read weekdays as ISO numbers or English names; raises RateError."""
    days = value if isinstance(value, list) else [value]
    numbers = [_DAY_NAMES.index(day[:3].lower()) + 1 if _is_day_name(day) else day for day in days]
    if not numbers or not all(isinstance(day, int) and day in EVERY_DAY for day in numbers):
        raise RateError("window_unparsable", f"the weekdays {value!r} are not numbers from 1 (Monday) to 7")
    return frozenset(numbers)


def _is_day_name(day: object) -> bool:
    return isinstance(day, str) and day[:3].lower() in _DAY_NAMES


def offset_minutes_of(zone_name: str) -> int:
    """Give a time zone's distance from UTC, which must be the same all year: weekly windows know no seasons.

    Raises:
        RateError: the zone is unknown or has summer time.
    """
    try:
        offsets = {instant.astimezone(ZoneInfo(zone_name)).utcoffset() for instant in _OFFSET_DATES}
    except (ValueError, ZoneInfoNotFoundError):
        raise RateError("window_unparsable", f"the time zone {zone_name!r} is unknown") from None
    if len(offsets) > 1:
        raise RateError("window_seasonal", f"{zone_name} has summer time; a window of the week in UTC would move")
    return (offsets.pop() or timedelta()) // timedelta(minutes=1)


# ---- context bands


def context_bands(thresholds: Iterable[int], all_thresholds: Iterable[int] = ()) -> dict[int, int | None]:
    """Give, for each threshold with a price (0 is the base), where the next one begins; None when none does.

    Args:
        thresholds: Those with a price.
        all_thresholds: Others that end a band too, because another price takes over there.
    """
    ends = sorted({*thresholds, *all_thresholds})
    return {start: next((end for end in ends if end > start), None) for start in sorted(set(thresholds))}


# ---- versions of a catalogue


class CatalogueOptions(LocatedOptions):
    """Options of a catalogue of list prices: where it is, and since when a version of it was known.

    Without either of the two dates a version is known from when it landed. Of a URL whose versions are kept, the two
    date the first one; a later one is known from the UTC day on which it was first fetched.
    """

    known_from: date | None = None
    known_from_pattern: str | None = Field(default=None, min_length=1)

    @field_validator("known_from_pattern")
    @classmethod
    def _has_one_group(cls, value: str | None) -> str | None:
        try:
            is_right = value is None or re.compile(value).groups == 1
        except re.error:
            is_right = False
        if not is_right:
            msg = "expected a regular expression with one group that finds a date YYYY-MM-DD in a file's name"
            raise ValueError(msg)
        return value

    def version_date(self, input_uri: str) -> date | None:
        """Give the date of a version: its day for a later version of a URL's content, else the configured one.

        Raises:
            PermanentSourceError: the input's name holds no date although a pattern for one is configured.
        """
        fetched_date = fetched_version_date(self.url, input_uri) if self.url is not None else None
        if fetched_date is not None or self.known_from_pattern is None:
            return fetched_date or self.known_from
        found = re.search(self.known_from_pattern, input_uri)
        try:
            return date.fromisoformat(found.group(1)) if found else _no_date()
        except (ValueError, TypeError):
            msg = (
                f"Read {input_uri}: its name holds no date that known_from_pattern {self.known_from_pattern!r} finds, "
                "expected YYYY-MM-DD. Rename the file or correct the pattern."
            )
            raise PermanentSourceError(msg) from None


def _no_date() -> date:
    raise ValueError


@dataclass(frozen=True)
class Version:
    """One version of a catalogue.

    Attributes:
        input_uri: The input that it is read from.
        known_from: UTC instant from which it was known.
        dated_from: The same when the version has a date; None when it is merely when it landed.
    """

    input_uri: str
    known_from: datetime
    dated_from: datetime | None


def catalogue_inputs(
    options: CatalogueOptions,
    context: PullContext,
    read: Callable[[Path, Version], Iterator[Batch]],
    *,
    keeps_versions: bool = False,
) -> Iterator[InputPull]:
    """List a catalogue's files, or fetch it, as inputs; `read` is given each path with its version.

    `keeps_versions` is for a catalogue without dates of its own: each version that a URL ever gave is an input.
    """

    def read_version(path: Path, input_uri: str) -> Iterator[Batch]:
        dated = options.version_date(input_uri)
        dated_from = datetime.combine(dated, time(), UTC) if dated else None
        return read(path, Version(input_uri, dated_from or context.now, dated_from))

    return located_inputs(options, context, read_version, keeps_versions=keeps_versions)


# ---- batches


@dataclass
class Records:
    """Rows and rejects of one entity, numbered in the order in which they were found."""

    entity: Entity
    _rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    _rejects: list[Reject] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        """Take a row in; columns that it does not name are null."""
        self._rows.append((len(self), row))

    def reject(self, code: str, reason: str, raw: object) -> None:
        """Take in what cannot be landed, as it came."""
        self._rejects.append(Reject.of(len(self), code, reason, readable(raw)))

    def __len__(self) -> int:
        return len(self._rows) + len(self._rejects)

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows so far."""
        return [row for _, row in self._rows]

    def batch(self) -> Batch:
        """Give everything as one batch."""
        records = pa.RecordBatch.from_pylist([row for _, row in self._rows], schema=self.entity.schema)
        indices = pa.array([index for index, _ in self._rows], pa.int64())
        return Batch(self.entity.name, records, indices, len(self), tuple(self._rejects))
