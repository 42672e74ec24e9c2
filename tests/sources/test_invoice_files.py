"""Any issuer's invoice: columns by name, days and amounts as the issuer writes them."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from dagster_project.sources.invoice_files import InvoiceFilesOptions
from tests.sources.pulling import FIXTURES, Pulled, pull

GERMAN: dict[str, Any] = {
    "path": str(FIXTURES / "invoice_files" / "rechnung.csv"),
    "delimiter": ";",
    "date_order": "dmy",
    "decimal_mark": ",",
    "period_ends": "inclusive",
    "keep_unmapped": True,
    "columns": {
        "charge_period_start": "Von",
        "charge_period_end": "Bis",
        "invoice_id": "Rechnung",
        "charge_description": "Leistung",
        "billed_cost": "Betrag",
        "consumed_quantity": "Menge",
        "consumed_unit": "Einheit",
    },
    "constants": {"provider_name": "mistral", "billing_account_id": "acme", "billing_currency": "EUR"},
}


@pytest.fixture
def lines(tmp_path: Path) -> Pulled:
    return pull(tmp_path, "invoice_files", **GERMAN)


def test_invoice_files_read_amounts_and_days_as_they_are_written(lines: Pulled):
    assert [(row["billed_cost"], row["consumed_quantity"]) for row in lines.rows()] == [
        (Decimal("1234.56"), Decimal(1_500_000)),
        (Decimal("-12.5"), None),
        (Decimal("0.07"), Decimal(7)),
    ]
    # 1,234.56 - 12.50 + 0.07
    assert Decimal(lines.landing.amounts["billed_cost"]) == Decimal("1222.13")
    first = lines.rows()[0]
    assert (first["charge_period_start"], first["charge_period_end"]) == (
        datetime(2026, 7, 1, tzinfo=UTC),
        datetime(2026, 7, 31, tzinfo=UTC),
    )
    assert first["are_period_ends_inclusive"] is True


def test_invoice_files_reject_what_is_written_otherwise(lines: Pulled):
    # An English amount, a day that is no day, and a line without an amount.
    assert lines.reasons() == {3: "value_unparsable", 4: "value_unparsable", 5: "value_missing"}
    assert "SECRET" not in str(lines.rows())
    assert lines.landing.rows_read == 6


def test_invoice_files_take_constants_and_keep_other_columns(lines: Pulled):
    first = lines.rows()[0]
    assert (first["provider_name"], first["billing_account_id"], first["billing_currency"]) == (
        "mistral",
        "acme",
        "EUR",
    )
    assert orjson.loads(first["attributes_json"]) == {"Kostenstelle": "4711"}
    assert (first["delivery_id"], first["restated_period"]) == (first["input_uri"], "charge_period")


@pytest.mark.parametrize(
    ("written", "read"),
    [("7/1/2026", datetime(2026, 7, 1, tzinfo=UTC)), ("12/31/2026", datetime(2026, 12, 31, tzinfo=UTC))],
)
def test_invoice_files_read_days_with_the_month_first(tmp_path: Path, written: str, read: datetime):
    (tmp_path / "bill.csv").write_text(f'day,usd\n{written},"$"\n{written},"1,234.5"\n')
    pulled = pull(
        tmp_path,
        "invoice_files",
        path=str(tmp_path / "bill.csv"),
        date_order="mdy",
        columns={"charge_period_start": "day", "billed_cost": "usd"},
        constants={"provider_name": "x", "billing_account_id": "y", "billing_currency": "USD"},
    )
    [row] = pulled.rows()
    assert (row["charge_period_start"], row["billed_cost"]) == (read, Decimal("1234.5"))
    assert pulled.reasons() == {0: "value_unparsable"}


@pytest.mark.parametrize(
    ("mark", "written", "read"),
    [
        (".", "0,123", None),
        (".", "-0,005", None),
        (".", "1,234", Decimal(1234)),
        (".", "0.123", Decimal("0.123")),
        (",", "0.123", None),
        (",", "(0.123)", None),
        (",", "1.234", Decimal(1234)),
        (",", "0,123", Decimal("0.123")),
    ],
)
def test_invoice_files_take_no_decimals_for_thousands(tmp_path: Path, mark: str, written: str, read: Decimal | None):
    (tmp_path / "bill.csv").write_text(f"day;usd\n2026-07-01;{written}\n")
    pulled = pull(
        tmp_path,
        "invoice_files",
        path=str(tmp_path / "bill.csv"),
        delimiter=";",
        decimal_mark=mark,
        columns={"charge_period_start": "day", "billed_cost": "usd"},
        constants={"provider_name": "x", "billing_account_id": "y", "billing_currency": "USD"},
    )
    assert [row["billed_cost"] for row in pulled.rows()] == ([] if read is None else [read])
    assert pulled.reasons() == ({0: "value_unparsable"} if read is None else {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constants": {"provider_name": "x", "billing_account_id": "y"}}, "billing_currency: map a column"),
        ({"columns": {"billed_cost": "Betrag"}}, "charge_period_start must be mapped"),
        ({"columns": {**GERMAN["columns"], "price": "Preis"}}, "unknown canonical column"),
        ({"decimal_mark": "'"}, "Input should be"),
    ],
)
def test_invoice_files_wrong_options_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        InvoiceFilesOptions.model_validate({"name": "n", "kind": "invoice_files", **GERMAN, **change})
