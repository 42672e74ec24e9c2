"""Typing of columns: any Arrow array in, the canonical type out, and which rows could not be read.

Everything is vectorised; only values that fail are looked at one by one. Text becomes a decimal exactly, or
rounded where that is asked for, never by way of a float. A value that cannot be read is null in the result and true in
the mask; it is the caller that rejects it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from dagster_project.sources._connector import UTC_TIMESTAMP
from dagster_project.sources._json import readable

TimestampKind = Literal["iso", "unix_s", "unix_ms", "unix_ns", "relative_ms"]

_INTEGER = r"^\s*[+-]?[0-9]{1,19}(\.0*)?\s*$"
_NUMBER = r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*$"
_ISO = r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?)?"
_ISO_LOCAL = _ISO + r"\s*$"
_ISO_ZONED = _ISO + r"\s?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?| ?UTC)\s*$"
_TRUE = ["true", "t", "yes", "y", "1", "1.0"]
_FALSE = ["false", "f", "no", "n", "0", "0.0"]

_WIDEST_DECIMAL = 76
_US_PER_UNIT = {"unix_s": 1_000_000.0, "unix_ms": 1_000.0, "relative_ms": 1_000.0, "unix_ns": 0.001}
# Instants outside these are units mixed up (milliseconds read as seconds), not times of calls.
_EARLIEST_US = int(datetime(1970, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000
_LATEST_US = int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


class TimestampOptions(BaseModel):
    """How a file writes instants: `format`, and for relative_ms the `origin` that counts as zero.

    ISO text and timestamps without a zone are UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: TimestampKind = "iso"
    origin: datetime | None = None

    @field_validator("origin")
    @classmethod
    def _origin_is_utc(cls, origin: datetime | None) -> datetime | None:
        if origin is None:
            return None
        return origin.replace(tzinfo=UTC) if origin.tzinfo is None else origin.astimezone(UTC)

    @model_validator(mode="after")
    def _origin_belongs_to_relative(self) -> "TimestampOptions":
        if (self.origin is not None) != (self.format == "relative_ms"):
            msg = "'origin' is needed with format relative_ms and has no meaning with another"
            raise ValueError(msg)
        return self


@dataclass(frozen=True)
class Typed:
    """A column in its canonical type, and a boolean array that is true where a value could not be read."""

    values: pa.Array
    is_bad: pa.Array | None = None


def to_type(values: pa.Array, target: pa.DataType, timestamp: TimestampOptions, *, is_rounded: bool = False) -> Typed:
    """Read a column as the canonical type `target`.

    Args:
        values: Any flat Arrow array; text that is empty counts as null unless text is wanted.
        target: string, int32, int64, double, bool, decimal128, date32 or timestamp.
        timestamp: How instants are written, used for timestamps only.
        is_rounded: Whether a decimal with more decimals than the target has is rounded, half to even; it is bad
            otherwise.

    Raises:
        TypeError: no value of the array's type can ever be read as `target`.
    """
    values = _simple(values)
    if pa.types.is_null(values.type):
        return Typed(pa.nulls(len(values), target))
    if pa.types.is_string(target):
        return Typed(_to_text(values))
    if pa.types.is_timestamp(target):
        return _to_timestamp(values, timestamp)
    if pa.types.is_decimal(target):
        return _to_decimal(values, target, is_rounded=is_rounded)
    reader = next(read for matches, read in _READERS if matches(target))
    return reader(values, target)


def constant(value: object, target: pa.DataType, rows: int) -> pa.Array:
    """Repeat one value."""
    if value is None:
        return pa.nulls(rows, target)
    return pa.repeat(pa.scalar(value, target), rows)


def text_of(value: object) -> str | None:
    """Write a JSON value as text: text as it is, everything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return readable(value).decode()


def from_python(values: list[object]) -> pa.Array:
    """Make an array of JSON values; values of differing types all become text."""
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        array = None
    if array is None or pa.types.is_nested(array.type):
        return pa.array([text_of(value) for value in values], pa.string())
    return array


def blank_to_null(values: pa.Array, words: list[str]) -> pa.Array:
    """Make text null where it is one of `words`."""
    return pc.if_else(pc.is_in(values, value_set=pa.array(words)), pa.scalar(None, values.type), values)


def _simple(values: pa.Array) -> pa.Array:
    """Reduce encodings of text to plain strings."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _simple(values.dictionary_decode())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return values.cast(pa.binary()).cast(pa.string())
    return values


def _to_text(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_nested(kind):
        return pa.array([text_of(_unmapped(value)) for value in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _unmapped(value: object) -> object:
    """Turn Arrow's list of pairs, its form of a map, into a mapping."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return dict(value)
    return value


def _refuse(values: pa.Array, wanted: str) -> None:
    kind = values.type
    is_readable = (
        pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )
    if not is_readable:
        msg = f"type {kind}, expected {wanted}"
        raise TypeError(msg)


def _given(values: pa.Array) -> pa.Array:
    """True where there is a value: not null, not blank text, not NaN."""
    if pa.types.is_string(values.type):
        return pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0), False)  # noqa: FBT003 - Arrow's signature
    if pa.types.is_floating(values.type):
        return pc.fill_null(pc.invert(pc.is_nan(values)), False)  # noqa: FBT003 - Arrow's signature
    return values.is_valid()


def _only(values: pa.Array, mask: pa.Array) -> pa.Array:
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _finish(values: pa.Array, result: pa.Array) -> Typed:
    """Bad is what had a value and has none now."""
    if result.null_count == 0:
        return Typed(result)
    is_bad = pc.and_(_given(values), result.is_null())
    return Typed(result, is_bad if pc.any(is_bad).as_py() else None)


def _cast_each(values: pa.Array, cast: Callable[[pa.Array], pa.Array], target: pa.DataType) -> pa.Array:
    """Cast all at once; where that fails, halve until the values that cannot be cast are null."""
    try:
        return cast(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        if len(values) <= 1:
            return pa.nulls(len(values), target)
    middle = len(values) // 2
    halves = [_cast_each(part, cast, target) for part in (values[:middle], values[middle:])]
    return pa.concat_arrays(halves)


def _matching(values: pa.Array, pattern: str) -> pa.Array:
    matches = pc.fill_null(pc.match_substring_regex(values, pattern), False)  # noqa: FBT003 - Arrow's signature
    return pc.utf8_trim_whitespace(_only(values, matches))


def _to_integer(values: pa.Array, target: pa.DataType) -> Typed:
    _refuse(values, "a whole number")
    kind = values.type
    if pa.types.is_string(kind):
        text = pc.replace_substring_regex(_matching(values, _INTEGER), r"\.0*$", "")
        text = pc.utf8_ltrim(text, "+")
        return _finish(values, _cast_each(text, lambda part: part.cast(target), target))
    if pa.types.is_floating(kind):
        # Beyond 2^53 a double no longer tells neighbouring whole numbers apart.
        is_whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less_equal(pc.abs(values), float(2**53)))
        source = _only(values, pc.fill_null(is_whole, False))  # noqa: FBT003 - Arrow's signature
        return _finish(values, _cast_each(source, lambda part: part.cast(target), target))
    return _finish(values, _cast_each(values, lambda part: part.cast(target), target))


def _to_double(values: pa.Array, target: pa.DataType) -> Typed:
    if pa.types.is_boolean(values.type):
        return Typed(values.cast(pa.int8()).cast(target))
    _refuse(values, "a number")
    if pa.types.is_string(values.type):
        text = pc.utf8_ltrim(_matching(values, _NUMBER), "+")
        result = _cast_each(text, lambda part: part.cast(target), target)
    else:
        result = values.cast(target, safe=False)
    return _finish(values, _only(result, pc.fill_null(pc.is_finite(result), False)))  # noqa: FBT003 - Arrow's signature


def _to_decimal(values: pa.Array, target: pa.DataType, *, is_rounded: bool) -> Typed:
    _refuse(values, "a decimal number")
    source = values
    if pa.types.is_floating(values.type):
        # The shortest text that reads back as the same double is the decimal that its writer meant.
        source = values.cast(pa.string())
    elif pa.types.is_integer(values.type):
        source = values.cast(pa.string())
    if pa.types.is_string(source.type):
        source = pc.utf8_ltrim(_matching(source, _NUMBER), "+")
    # One digit more before the point than the target has, for what is rounded up; all others are behind it.
    wide = pa.decimal256(_WIDEST_DECIMAL, _WIDEST_DECIMAL - (target.precision - target.scale) - 1)

    def cast(part: pa.Array) -> pa.Array:
        return (pc.round(part.cast(wide), target.scale) if is_rounded else part).cast(target)

    return _finish(values, _cast_each(source, cast, target))


def _to_boolean(values: pa.Array, target: pa.DataType) -> Typed:
    if pa.types.is_boolean(values.type):
        return Typed(values)
    _refuse(values, "true or false")
    text = pc.utf8_lower(pc.utf8_trim_whitespace(values.cast(pa.string())))
    is_true = pc.is_in(text, value_set=pa.array(_TRUE))
    is_known = pc.or_(is_true, pc.is_in(text, value_set=pa.array(_FALSE)))
    return _finish(values, pc.if_else(is_known, is_true, pa.scalar(None, target)))


def _to_date(values: pa.Array, target: pa.DataType) -> Typed:
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        return Typed(values.cast(target, safe=False))
    if not pa.types.is_string(values.type):
        msg = f"type {values.type}, expected a date"
        raise TypeError(msg)
    text = _matching(values, r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}\s*$")
    return _finish(values, _cast_each(text, lambda part: part.cast(target), target))


def _to_timestamp(values: pa.Array, options: TimestampOptions) -> Typed:
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        utc = kind if pa.types.is_timestamp(kind) and kind.tz else pa.timestamp("us")
        instants = _cast_each(
            values,
            lambda part: part.cast(utc, safe=False).cast(UTC_TIMESTAMP, safe=False),
            UTC_TIMESTAMP,
        )
    elif options.format == "iso":
        if not pa.types.is_string(kind):
            msg = f"type {kind}, expected ISO 8601 text or timestamps (`timestamp.format` is iso)"
            raise TypeError(msg)
        instants = _iso_to_timestamp(values)
    else:
        _refuse(values, f"a number ({options.format})")
        instants = _number_to_timestamp(values, options)
    ticks = instants.cast(pa.int64())
    in_range = pc.and_(pc.greater_equal(ticks, _EARLIEST_US), pc.less(ticks, _LATEST_US))
    return _finish(values, _only(instants, pc.fill_null(in_range, False)))  # noqa: FBT003 - Arrow's signature


def _iso_to_timestamp(values: pa.Array) -> pa.Array:
    def parse(text: pa.Array, zone: str | None) -> pa.Array:
        def cast(part: pa.Array) -> pa.Array:
            # Nanoseconds first: text with seven to nine decimals is refused as microseconds.
            return part.cast(pa.timestamp("ns", tz=zone)).cast(pa.timestamp("us", tz=zone), safe=False)

        return _cast_each(text, cast, pa.timestamp("us", tz=zone))

    local = parse(_matching(values, _ISO_LOCAL), None).cast(UTC_TIMESTAMP)
    if local.null_count == values.null_count:
        return local
    text = pc.replace_substring_regex(_matching(values, _ISO_ZONED), r"\s?([Zz]| ?UTC)$", "Z")
    text = pc.replace_substring_regex(text, r"\s([+-][0-9:]+)$", r"\1")
    return pc.coalesce(local, parse(text, "UTC"))


def _number_to_timestamp(values: pa.Array, options: TimestampOptions) -> pa.Array:
    origin_us = round(options.origin.timestamp() * 1_000_000) if options.origin else 0
    if options.format == "unix_ns":
        # A double cannot hold nanoseconds since 1970; whole numbers can.
        ticks = pc.divide(_to_integer(values, pa.int64()).values, 1000)
    else:
        doubles = _to_double(values, pa.float64()).values
        scaled = pc.round(pc.multiply(doubles, _US_PER_UNIT[options.format]))
        fits = pc.fill_null(pc.less(pc.abs(scaled), float(2**62)), False)  # noqa: FBT003 - Arrow's signature
        ticks = _only(scaled, fits).cast(pa.int64(), safe=False)
    return pc.add(ticks, origin_us).cast(UTC_TIMESTAMP)


_READERS: list[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, pa.DataType], Typed]]] = [
    (pa.types.is_integer, _to_integer),
    (pa.types.is_floating, _to_double),
    (pa.types.is_boolean, _to_boolean),
    (pa.types.is_date, _to_date),
]


def true_positions(mask: pa.Array) -> np.ndarray:
    """Give the positions at which a mask is true."""
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))
