"""The macro `largest_remainder`: an exact amount, split over weights to its last digit.

The macro is compiled as dbt compiles it, with the DuckDB side of what it calls, and run over tiny tables.
"""

import random
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import duckdb
import jinja2
import pytest

from dagster_project.warehouse.dbt import DBT_PROJECT_DIR

MACRO = DBT_PROJECT_DIR / "macros" / "largest_remainder.sql"
QUANTUM = Decimal("1E-9")


class _CompilerError(Exception):
    """What dbt raises for a macro that was called wrongly."""


class _Exceptions:
    @staticmethod
    def raise_compiler_error(message: str) -> None:
        raise _CompilerError(message)


def _sql(without_weight: str) -> str:
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)  # noqa: S701
    macros = environment.from_string(MACRO.read_text(encoding="utf-8")).make_module(
        {
            "exceptions": _Exceptions,
            "integer_divide": lambda one, other: f"(cast({one} as hugeint) // cast({other} as hugeint))",
        }
    )
    return str(
        macros.largest_remainder(  # type: ignore[attr-defined]
            "pieces", ["part", "k"], ["part"], ["k"], "weight", "amount_usd", "part_usd", without_weight=without_weight
        )
    )


def _split(
    con: duckdb.DuckDBPyConnection,
    rows: Sequence[tuple[str, str, int | None, str]],
    *,
    without_weight: str = "even",
) -> dict[tuple[str, str], Decimal | None]:
    """Split the amounts of rows of (partition, key, weight, amount)."""
    con.execute(
        "create or replace table pieces (part varchar, k varchar, weight decimal(38, 0), amount_usd decimal(38, 18))"
    )
    con.executemany("insert into pieces values (?, ?, ?, ?)", [list(row) for row in rows])
    return {(part, key): amount for part, key, amount in con.execute(_sql(without_weight)).fetchall()}


def test_quanta_that_are_left_go_to_the_largest_remainders(con: duckdb.DuckDBPyConnection):
    # 10 quanta by 3, 3, 1 of 7: quotas 30/7 = 4 rest 2, 4 rest 2, 10/7 = 1 rest 3. One quantum is left: the last's.
    rows = [("p", key, weight, "0.00000001") for key, weight in (("a", 3), ("b", 3), ("c", 1))]
    assert _split(con, rows) == {("p", "a"): 4 * QUANTUM, ("p", "b"): 4 * QUANTUM, ("p", "c"): 2 * QUANTUM}


def test_equal_remainders_go_in_the_order_of_the_key(con: duckdb.DuckDBPyConnection):
    # A dollar by three: 333,333,333 quanta each, and the one that is left is the first one's, whatever the rows' order.
    rows = [("p", key, 5, "1") for key in ("c", "a", "b")]
    assert _split(con, rows) == {
        ("p", "a"): Decimal("0.333333334"),
        ("p", "b"): Decimal("0.333333333"),
        ("p", "c"): Decimal("0.333333333"),
    }


def test_what_is_less_than_a_quantum_is_the_first_row_with_a_weight(con: duckdb.DuckDBPyConnection):
    # 2 quanta and 0.5 of one by 0, 1, 1: a quantum each, the half to b, for a takes no part.
    rows = [("p", "a", 0, "0.0000000025"), ("p", "b", 1, "0.0000000025"), ("p", "c", 1, "0.0000000025")]
    assert _split(con, rows) == {("p", "a"): 0, ("p", "b"): Decimal("0.0000000015"), ("p", "c"): QUANTUM}


def test_a_credit_is_split_as_a_charge_is(con: duckdb.DuckDBPyConnection):
    rows = [("p", "a", 2, "-1"), ("p", "b", 1, "-1")]
    assert _split(con, rows) == {("p", "a"): Decimal("-0.666666667"), ("p", "b"): Decimal("-0.333333333")}


def test_partitions_are_split_apart(con: duckdb.DuckDBPyConnection):
    rows = [("p", "a", 1, "1"), ("p", "b", 3, "1"), ("q", "a", 1, "10"), ("q", "b", 1, "10")]
    assert _split(con, rows) == {
        ("p", "a"): Decimal("0.25"),
        ("p", "b"): Decimal("0.75"),
        ("q", "a"): Decimal(5),
        ("q", "b"): Decimal(5),
    }


@pytest.mark.parametrize("weights", [(0, 0), (None, None), (-1, None)])
def test_without_a_weight_the_caller_says_what_happens(
    con: duckdb.DuckDBPyConnection, weights: tuple[int | None, int | None]
):
    rows = [("p", "a", weights[0], "1"), ("p", "b", weights[1], "1")]
    assert _split(con, rows) == {("p", "a"): Decimal("0.5"), ("p", "b"): Decimal("0.5")}
    assert _split(con, rows, without_weight="null") == {("p", "a"): None, ("p", "b"): None}


def test_an_unknown_way_without_weights_is_refused():
    with pytest.raises(_CompilerError, match="is 'even' or 'null', not 'zero'"):
        _sql("zero")


def test_large_amounts_and_weights_stay_exact(con: duckdb.DuckDBPyConnection):
    # 999,999,999.999999999 USD are 1e18 - 1 quanta; times a weight of 1e18 is past 64 and within 128 bits.
    amount = Decimal("999999999.999999999")
    rows = [("p", "a", 10**18, str(amount)), ("p", "b", 10**18, str(amount))]
    assert _split(con, rows) == {("p", "a"): Decimal("500000000.000000000"), ("p", "b"): Decimal("499999999.999999999")}


def test_any_split_is_exact_within_a_quantum_of_its_share_and_independent_of_the_rows_order(
    con: duckdb.DuckDBPyConnection,
):
    draw = random.Random(20260701)  # noqa: S311
    rows = []
    for part in range(40):
        amount = Decimal(draw.randint(-(10**24), 10**24)).scaleb(-18)
        rows += [(f"{part:02}", f"{key:02}", draw.choice([0, 1, 2, 7, 10**12]), str(amount)) for key in range(17)]
    split = _split(con, rows)
    draw.shuffle(rows)
    assert _split(con, rows) == split
    for part in {row[0] for row in rows}:
        mine = [row for row in rows if row[0] == part]
        amount, total = Decimal(mine[0][3]), sum(row[2] or 0 for row in mine)
        parts = [split[part, row[1]] or Decimal(0) for row in mine]
        assert sum(parts) == amount
        for row, piece in zip(mine, parts, strict=True):
            share = Fraction(amount) * Fraction(row[2] or 0, total)
            assert abs(Fraction(piece) - share) < 2 * Fraction(QUANTUM)


def test_the_macro_names_nothing_that_only_duckdb_has():
    assert not re.search(r"hugeint|qualify|exclude|//", Path(MACRO).read_text(encoding="utf-8"))
