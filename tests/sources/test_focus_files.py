"""FOCUS invoices: exact amounts, NULL, versions by their columns, unknown columns kept."""

import csv
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.sources.focus_files import CHARGES, infer_version, snake_case
from tests.sources.pulling import FIXTURES, SHARED_DATA, Pulled, pull

needs_shared_data = pytest.mark.skipif(not SHARED_DATA.exists(), reason="../shared/data is absent")
SAMPLE = SHARED_DATA / "focus_sample" / "focus_sample.csv"


@pytest.fixture
def charges(tmp_path: Path) -> Pulled:
    return pull(tmp_path, "focus_files", path=str(FIXTURES / "focus" / "ai_charges.csv"))


def test_focus_files_reads_amounts_exactly_from_text(charges: Pulled):
    assert [(row["billed_cost"], row["effective_cost"]) for row in charges.rows()] == [
        (Decimal("1.50"), Decimal("1.5")),
        (Decimal("-0.10"), Decimal("-0.1")),
        # 0.1234567890123456789, rounded at the 18th decimal
        (Decimal("0.123456789012345679"), Decimal(0)),
    ]
    # 1.50 - 0.10 + 0.123456789012345679
    assert Decimal(charges.landing.amounts["billed_cost"]) == Decimal("1.523456789012345679")


def test_focus_files_rejects_amounts_that_are_no_decimals_and_charges_without_a_period(
    charges: Pulled,
):
    assert charges.reasons() == {2: "value_unparsable", 4: "value_missing"}
    assert charges.landing.rows_read == 5


def test_focus_files_reads_null_words_and_keeps_leading_zeros(charges: Pulled):
    usage, credit, _ = charges.rows()
    assert (usage["invoice_id"], credit["invoice_id"]) == ("INV-7", None)
    assert usage["billing_account_id"] == "0012"
    assert orjson.loads(usage["tags"]) == {"team": "a"}
    assert (credit["tags"], credit["sku_price_details"]) == (None, None)


def test_focus_files_keeps_unknown_columns(charges: Pulled):
    usage, credit, _ = charges.rows()
    assert orjson.loads(usage["attributes_json"]) == {"x_Model": "gpt-4o"}
    assert credit["attributes_json"] is None


def test_focus_files_infers_or_takes_the_version(charges: Pulled, tmp_path: Path):
    assert charges.rows()[0]["focus_version"] == "1.3"
    declared = pull(
        tmp_path / "x",
        "focus_files",
        path=str(FIXTURES / "focus" / "ai_charges.csv"),
        focus_version="1.4",
    )
    assert declared.rows()[0]["focus_version"] == "1.4"


def test_focus_files_says_what_arrives_at_once_and_what_it_restates(tmp_path: Path):
    export = tmp_path / "exports" / "run-1"
    export.mkdir(parents=True)
    (export / "part-0.csv").write_bytes((FIXTURES / "focus" / "ai_charges.csv").read_bytes())
    found = {}
    for delivery in ("file", "folder"):
        pulled = pull(
            tmp_path / delivery,
            "focus_files",
            path=str(tmp_path / "exports" / "*" / "*.csv"),
            delivery=delivery,
            restates="billing_period",
        )
        row = pulled.rows()[0]
        found[delivery] = (row["input_uri"], row["delivery_id"], row["restated_period"])
    (file, as_file, restated), (folder, as_folder, _) = found["file"], found["folder"]
    assert file.endswith("run-1/part-0.csv")
    assert (as_file, as_folder, restated) == (file, file.removesuffix("/part-0.csv"), "billing_period")
    assert folder == as_folder


def test_focus_files_takes_a_file_for_a_delivery_of_its_charge_periods(charges: Pulled):
    assert {(row["delivery_id"], row["restated_period"]) for row in charges.rows()} == {
        (charges.rows()[0]["input_uri"], "charge_period")
    }


@pytest.mark.parametrize(
    ("column", "version"),
    [
        ("BilledCost", "1.0"),
        ("SkuMeter", "1.1"),
        ("InvoiceId", "1.2"),
        ("HostProviderName", "1.3"),
        ("InvoiceDetailId", "1.4"),
    ],
)
def test_focus_files_infers_the_version_that_brought_a_column(column: str, version: str):
    assert infer_version(["BilledCost", "ChargePeriodStart", column]) == version


def test_focus_files_knows_the_columns_of_all_versions():
    # 65 columns of 1.4, and the two provider names that 1.4 dropped; four columns are ours.
    own = {"focus_version", "delivery_id", "restated_period", "modified_at", "attributes_json"}
    assert len(set(CHARGES.schema.names) - own) == 67
    assert snake_case("CommitmentDiscountId") == "commitment_discount_id"


def test_focus_files_reads_parquet_decimals_doubles_and_maps(tmp_path: Path):
    instant = pa.array([1782864000000, 1782950400000], pa.timestamp("ms"))
    table = pa.table(
        {
            "BilledCost": pa.array([Decimal("0.000000800"), Decimal("2.5")], pa.decimal128(20, 9)),
            "EffectiveCost": pa.array([0.1, 1e-7]),
            "BillingCurrency": ["USD", "USD"],
            "ChargePeriodStart": instant,
            "ChargePeriodEnd": instant,
            "Tags": pa.array([[("team", "a")], None], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "invoice.parquet")
    pulled = pull(tmp_path, "focus_files", path=str(tmp_path / "invoice.parquet"))
    first, second = pulled.rows()
    assert (first["billed_cost"], second["billed_cost"]) == (Decimal("0.0000008"), Decimal("2.5"))
    assert (first["effective_cost"], second["effective_cost"]) == (Decimal("0.1"), Decimal("0.0000001"))
    assert (orjson.loads(first["tags"]), second["tags"]) == ({"team": "a"}, None)
    assert first["charge_period_start"] == datetime(2026, 7, 1, tzinfo=UTC)


@needs_shared_data
def test_focus_files_lands_the_sample_with_its_exact_sums(tmp_path: Path):
    pulled = pull(tmp_path, "focus_files", path=str(SAMPLE))
    with SAMPLE.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    for column in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"):
        exact = sum((Decimal(line[column]) for line in lines if line[column] != "NULL"), Decimal(0))
        assert Decimal(pulled.landing.amounts[snake_case(column)]) == exact
    assert Decimal(pulled.landing.amounts["billed_cost"]) == Decimal("20.52022672899")
    assert (pulled.landing.rows_landed, pulled.landing.rows_rejected) == (1_000, 0)
    assert {file.event_date for file in pulled.landing.files if file.event_date} == {
        date.fromisoformat(line["ChargePeriodStart"][:10]) for line in lines
    }


@needs_shared_data
def test_focus_files_keeps_the_samples_unknown_column_and_its_version(tmp_path: Path):
    rows = pull(tmp_path, "focus_files", path=str(SAMPLE)).rows()
    assert {row["focus_version"] for row in rows} == {"1.0"}
    assert orjson.loads(rows[0]["attributes_json"]) == {"Id": "11472"}
    assert rows[0]["billed_cost"] == Decimal("0.00000080000")
    assert "NULL" not in {value for row in rows for value in row.values()}
