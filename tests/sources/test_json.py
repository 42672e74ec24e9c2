"""JSON that keeps every digit: what is written, and what becomes of values that JSON does not know."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any

import pytest

from dagster_project.sources._columns import from_python, text_of
from dagster_project.sources._database import json_value
from dagster_project.sources._json import canonical, readable

HUGE = 2**64


def test_canonical_sorts_members_and_keeps_every_digit():
    value = {"b": [HUGE, -HUGE, 2**63 - 1], "a": Decimal("1.10"), "c": {"d": HUGE}}
    assert canonical(value) == (
        b'{"a":1.10,"b":[18446744073709551616,-18446744073709551616,9223372036854775807],'
        b'"c":{"d":18446744073709551616}}\n'
    )


def test_canonical_refuses_what_it_does_not_know():
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical({"at": IPv4Address("10.0.0.7")})


def test_half_a_character_is_written_as_its_number():
    assert json.loads(canonical({"\ud83d": "smile \ud83d"})) == {"\\ud83d": "smile \\ud83d"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"n": HUGE}, '{"n":18446744073709551616}'),
        ({"n": [HUGE, Decimal("0.1"), IPv4Address("10.0.0.7")]}, '{"n":[18446744073709551616,"0.1","10.0.0.7"]}'),
        ({1: {2: HUGE}}, '{"1":{"2":18446744073709551616}}'),
        ("as it is", "as it is"),
        (HUGE, "18446744073709551616"),
    ],
)
def test_any_value_can_be_read_as_text(value: Any, text: str):  # noqa: ANN401 - any value
    assert text_of(value) == text
    assert isinstance(value, str) or readable(value).decode() == text


def test_a_column_of_values_that_arrow_cannot_hold_is_text():
    assert from_python([HUGE, {"n": HUGE}, None]).to_pylist() == [str(HUGE), f'{{"n":{HUGE}}}', None]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IPv4Address("10.0.0.7"), "10.0.0.7"),
        (
            [date(2026, 11, 18), (Decimal("NaN"), Decimal("1.5"))],
            ["2026-11-18", [None, Decimal("1.5")]],
        ),
        ({1: b"bytes", "n": HUGE}, {"1": "bytes", "n": HUGE}),
        (True, True),
        (datetime(2026, 11, 18, 9, tzinfo=UTC), "2026-11-18T09:00:00+00:00"),
    ],
)
def test_a_value_of_a_database_is_one_that_can_be_written(value: Any, expected: Any):  # noqa: ANN401 - any value
    assert json_value(value) == expected
    assert canonical(json_value(value))
