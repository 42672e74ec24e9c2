"""Typing of columns: what is read as what, and which values are bad rather than guessed at."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dagster_project.sources._columns import TimestampOptions, from_python, to_type
from dagster_project.sources._connector import UTC_TIMESTAMP

AMOUNT = pa.decimal128(38, 18)
BAD = object()


def _read(values: pa.Array, target: pa.DataType, **timestamp: Any) -> list[object]:  # noqa: ANN401 - any option
    typed = to_type(values, target, TimestampOptions(**timestamp))
    bad = typed.is_bad.to_pylist() if typed.is_bad is not None else [False] * len(values)
    return [BAD if is_bad else value for value, is_bad in zip(typed.values.to_pylist(), bad, strict=True)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", " 2 ", "+3", "4.0", "-5"], [1, 2, 3, 4, -5]),
        (["", None, "  "], [None, None, None]),
        (["x", "4.5", "1,000", "1e3", "0x1"], [BAD] * 5),
        (["9223372036854775807", "9223372036854775808"], [2**63 - 1, BAD]),
        ([1.0, 2.5, float("nan"), float("inf"), 2.0**53, 2.0**54], [1, BAD, None, BAD, 2**53, BAD]),
        ([Decimal("2.0"), Decimal("2.5")], [2, BAD]),
    ],
)
def test_columns_whole_numbers_are_read_or_bad_but_never_rounded(values: list[object], expected: list[object]):
    assert _read(pa.array(values), pa.int64()) == expected


def test_columns_numbers_too_large_for_the_column_are_bad():
    assert _read(pa.array([2**31, 5]), pa.int32()) == [BAD, 5]
    assert _read(pa.array([2**63, 5], pa.uint64()), pa.int64()) == [BAD, 5]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.00000080000", Decimal("0.0000008")),
        ("1e-7", Decimal("0.0000001")),
        ("1E+3", Decimal(1000)),
        ("-.5", Decimal("-0.5")),
        ("12345678901234567890.123456789012345678", Decimal("12345678901234567890.123456789012345678")),
        ("0.1234567890123456789", BAD),
        ("123456789012345678901", BAD),
        ("nan", BAD),
        ("1,5", BAD),
        ("", None),
    ],
)
def test_columns_decimals_come_exactly_from_text(value: str, expected: object):
    assert _read(pa.array([value]), AMOUNT) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # A cost of 50 EUR over 3.6 million seconds as GCP writes it, and .NET's 28 decimals.
        ("1.3888888888888889E-5", Decimal("0.000013888888888889")),
        ("0.0000133333333333333333333333", Decimal("0.000013333333333333")),
        ("-1e-30", Decimal(0)),
        # Half to even at the 18th decimal.
        ("0.0000000000000000005", Decimal(0)),
        ("0.0000000000000000015", Decimal("2E-18")),
        ("0.1", Decimal("0.1")),
        ("99999999999999999999.9999999999999999985", Decimal("99999999999999999999.999999999999999998")),
        ("123456789012345678901", BAD),
        ("1,5", BAD),
        ("", None),
    ],
)
def test_columns_decimals_are_rounded_where_that_is_asked_for(value: str, expected: object):
    typed = to_type(pa.array(["1", value]), AMOUNT, TimestampOptions(), is_rounded=True)
    assert typed.values.to_pylist() == [Decimal(1), None if expected is BAD else expected]
    assert (typed.is_bad is not None) == (expected is BAD)


def test_columns_decimals_of_doubles_are_their_shortest_text():
    values = pa.array([0.1, 1e-7, 20.0, 123456789.125, float("nan"), None])
    expected = [Decimal("0.1"), Decimal("0.0000001"), Decimal(20), Decimal("123456789.125"), None, None]
    assert _read(values, AMOUNT) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-07-01 10:30", datetime(2026, 7, 1, 10, 30, tzinfo=UTC)),
        ("2023-11-16 18:15:46.6805900", datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)),
        ("2026-07-01T00:00:00Z", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-07-01T02:00:00+02:00", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-07-01T00:00:00.5-0530", datetime(2026, 7, 1, 5, 30, 0, 500000, tzinfo=UTC)),
        ("2026-07-01 00:00:00 UTC", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-02-30", BAD),
        ("2026-13-01T00:00:00Z", BAD),
        ("01/07/2026", BAD),
        ("1782864000", BAD),
        ("0001-01-01", BAD),
        ("", None),
    ],
)
def test_columns_iso_text_is_utc_unless_it_says_otherwise(text: str, expected: object):
    # Beside a good value of either form, so that neither decides for the other.
    values = pa.array(["2026-01-01", text, "2026-01-01T00:00:00Z"])
    first = datetime(2026, 1, 1, tzinfo=UTC)
    assert _read(values, UTC_TIMESTAMP) == [first, expected, first]


@pytest.mark.parametrize(
    ("kind", "value", "microsecond"),
    [
        ("unix_s", 1782864000.123456, 123456),
        ("unix_s", "1782864000.5", 500000),
        ("unix_ms", 1782864000123, 123000),
        ("unix_ns", 1782864000123456789, 123456),
        ("unix_ns", "1782864000123456789", 123456),
    ],
)
def test_columns_numbers_since_1970_keep_their_microseconds(kind: str, value: object, microsecond: int):
    expected = datetime(2026, 7, 1, tzinfo=UTC).replace(microsecond=microsecond)
    assert _read(pa.array([value]), UTC_TIMESTAMP, format=kind) == [expected]


def test_columns_milliseconds_read_as_seconds_are_bad():
    assert _read(pa.array([1782864000123]), UTC_TIMESTAMP, format="unix_s") == [BAD]


def test_columns_timestamps_of_any_unit_and_zone_become_utc():
    instant = datetime(2026, 7, 1, 12, tzinfo=UTC)
    for kind in (pa.timestamp("s", "UTC"), pa.timestamp("ms", "America/New_York"), pa.timestamp("ns", "UTC")):
        assert _read(pa.array([instant], kind), UTC_TIMESTAMP) == [instant]
    assert _read(pa.array([date(2026, 7, 1)]), UTC_TIMESTAMP) == [instant.replace(hour=0)]


def test_columns_truth_is_read_from_words_and_numbers():
    assert _read(pa.array(["True", "no", "1", "maybe", None]), pa.bool_()) == [True, False, True, BAD, None]
    assert _read(pa.array([1, 0, 2]), pa.bool_()) == [True, False, BAD]


def test_columns_numbers_that_are_not_finite_are_bad_as_doubles():
    assert _read(pa.array(["1.5", "abc", "1e400", ""]), pa.float64()) == [1.5, BAD, BAD, None]


@pytest.mark.parametrize("target", [pa.int64(), pa.float64(), AMOUNT, pa.bool_(), UTC_TIMESTAMP, pa.date32()])
def test_columns_of_lists_cannot_be_read_at_all(target: pa.DataType):
    with pytest.raises(TypeError, match="type list"):
        _read(pa.array([[1]]), target)


def test_columns_of_mixed_json_become_text():
    assert from_python([1, "a", [2], None]).to_pylist() == ["1", "a", "[2]", None]
    assert from_python([1, None]).type == pa.int64()
