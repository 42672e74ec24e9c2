"""A billing period that was published as final does not change without saying so."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from dagster_project.publish.published_bills import note_periods, take_back


def _at(day: int) -> datetime:
    return datetime(2026, 8, day, tzinfo=UTC)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """July is closed at 100.00 USD, for calls without an account too; August is provisional."""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute("create schema marts")
        _build(connection, "100.00")
        yield connection


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    return tmp_path / "serving.duckdb"


def _build(con: duckdb.DuckDBPyConnection, invoice_usd: str, status: str = "final") -> None:
    """Build the periods anew, as dbt does: it knows of no publication."""
    con.execute(
        f"""
        create or replace table marts.rpt_billing_periods as
        select
            'acme' as provider_name, account as billing_account_id, first as billing_period_start_date,
            last as billing_period_end_date, 'invoice' as document_type, status as status_type,
            cast(invoice as decimal(38, 18)) as invoice_usd, cast(90 as decimal(38, 18)) as ledger_usd,
            cast(invoice - 90 as decimal(38, 18)) as explained_usd, cast(0 as decimal(38, 18)) as unexplained_usd
        from (values
            ('a', date '2026-07-01', date '2026-08-01', '{status}', {invoice_usd}),
            (null, date '2026-07-01', date '2026-08-01', 'final', 50),
            ('a', date '2026-08-01', date '2026-09-01', 'provisional', {invoice_usd})
        ) as t (account, first, last, status, invoice)
        """
    )


def _statuses(con: duckdb.DuckDBPyConnection) -> dict[tuple[str | None, int], str]:
    rows = con.execute(
        "select billing_account_id, billing_period_start_date, status_type from marts.rpt_billing_periods"
    )
    return {(account, day.month): status for account, day, status in rows.fetchall()}


def _publish(con: duckdb.DuckDBPyConnection, serving: Path, built_at: datetime) -> None:
    """Write what a published file has to say of itself."""
    serving.unlink(missing_ok=True)
    rows = con.sql("from ops.published_billing_periods").to_arrow_table()
    with duckdb.connect(str(serving)) as published:
        published.execute("create schema ops")
        published.execute(
            "create table ops.publication as select cast($at as timestamptz) as built_at", {"at": built_at}
        )
        published.register("known_rows", rows)
        published.execute("create table ops.published_billing_periods as from known_rows")


def test_each_period_is_added_once_while_nothing_changes(con: duckdb.DuckDBPyConnection, serving: Path):
    assert note_periods(con, serving, published_at=_at(5)) == 3
    _publish(con, serving, _at(5))
    _build(con, "100.00")
    assert note_periods(con, serving, published_at=_at(6)) == 0
    assert _statuses(con) == {("a", 7): "final", (None, 7): "final", ("a", 8): "provisional"}


def test_final_period_with_other_figures_is_restated_and_stays_so(con: duckdb.DuckDBPyConnection, serving: Path):
    note_periods(con, serving, published_at=_at(5))
    _publish(con, serving, _at(5))
    _build(con, "101.00")
    # July of account a is restated and new; August was not final, so it is new only.
    assert note_periods(con, serving, published_at=_at(6)) == 2
    assert _statuses(con) == {("a", 7): "restated", (None, 7): "final", ("a", 8): "provisional"}
    _publish(con, serving, _at(6))
    _build(con, "100.00")
    note_periods(con, serving, published_at=_at(7))
    assert _statuses(con)["a", 7] == "restated"
    assert con.execute(
        "select status_type, invoice_usd from ops.published_billing_periods "
        "where billing_account_id = 'a' and billing_period_start_date = '2026-07-01' order by published_at"
    ).fetchall() == [("final", Decimal(100)), ("restated", Decimal(101)), ("restated", Decimal(100))]


def test_final_period_that_is_not_explained_any_more_is_provisional_until_it_is(
    con: duckdb.DuckDBPyConnection, serving: Path
):
    note_periods(con, serving, published_at=_at(5))
    _publish(con, serving, _at(5))
    _build(con, "120.00", status="provisional")
    note_periods(con, serving, published_at=_at(6))
    assert _statuses(con)["a", 7] == "provisional"
    _publish(con, serving, _at(6))
    _build(con, "120.00")
    note_periods(con, serving, published_at=_at(7))
    assert _statuses(con)["a", 7] == "restated"


def test_what_was_not_published_restates_nothing(con: duckdb.DuckDBPyConnection, serving: Path):
    _build(con, "100.00", status="provisional")
    note_periods(con, serving, published_at=_at(5))
    _publish(con, serving, _at(5))
    _build(con, "100.00")
    note_periods(con, serving, published_at=_at(6))
    take_back(con, published_at=_at(6))
    _build(con, "101.00")
    # A run that was killed leaves its rows behind; they are later than the published file.
    con.execute(
        "insert into ops.published_billing_periods by name "
        "select *, timestamptz '2026-08-07 00:00:00+00' as published_at from marts.rpt_billing_periods"
    )
    note_periods(con, serving, published_at=_at(8))
    assert _statuses(con)["a", 7] == "final"


def test_new_warehouse_takes_over_what_was_published(con: duckdb.DuckDBPyConnection, serving: Path):
    note_periods(con, serving, published_at=_at(5))
    _publish(con, serving, _at(5))
    con.execute("drop table ops.published_billing_periods")
    _build(con, "101.00")
    note_periods(con, serving, published_at=_at(6))
    assert _statuses(con)["a", 7] == "restated"
