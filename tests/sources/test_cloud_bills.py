"""Clouds' own cost exports: real column sets, exact amounts, deliveries of several files, what is new is kept."""

import csv
import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from tests.sources.pulling import FIXTURES, Pulled, pull

CUR = FIXTURES / "aws_cur_files" / "novaspark-00001.csv"
EA = FIXTURES / "azure_cost_files" / "ea_2024-08-01.csv"
MCA = FIXTURES / "azure_cost_files" / "mca_2023-12-01-preview.csv"
GCP = FIXTURES / "gcp_billing_files" / "000000000000.json"


def _written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# ---- AWS


@pytest.fixture
def cur(tmp_path: Path) -> Pulled:
    """Five lines of a CSV export, of which two cannot be landed."""
    path = tmp_path / "BILLING_PERIOD=2026-07" / "novaspark-00001.csv.gz"
    _written(path, gzip.compress(CUR.read_bytes()))
    return pull(tmp_path, "aws_cur_files", path=str(path))


def test_aws_cur_files_land_unblended_costs_exactly(cur: Pulled):
    assert [row["line_item_unblended_cost"] for row in cur.rows()] == [
        Decimal("0.01"),
        Decimal("0.0000001"),
        Decimal("0.0023"),
    ]
    # 0.0100000000 + 1e-7 + 0.0023
    assert Decimal(cur.landing.amounts["line_item_unblended_cost"]) == Decimal("0.0123001")
    assert cur.reasons() == {3: "value_unparsable", 4: "value_missing"}


def test_aws_cur_files_read_maps_and_instants(cur: Pulled):
    first = cur.rows()[0]
    assert orjson.loads(first["product"]) == {"product_name": "Amazon Bedrock", "model": "Nova Pro"}
    assert orjson.loads(first["resource_tags"]) == {"user_team": "search"}
    assert first["line_item_usage_end_date"] == datetime(2026, 7, 1, 1, tzinfo=UTC)
    assert first["bill_billing_period_end_date"] == datetime(2026, 8, 1, tzinfo=UTC)
    assert (first["bill_payer_account_id"], first["bill_invoice_id"]) == ("111111111111", None)


def test_aws_cur_files_keep_other_columns_and_no_persons(cur: Pulled):
    first = cur.rows()[0]
    assert orjson.loads(first["attributes_json"])["bill_payer_account_name"] == "NovaSpark payer"
    assert first["line_item_iam_principal"] is None
    assert "alice" not in str(cur.rows())


def test_aws_cur_files_state_their_month_anew(cur: Pulled):
    row = cur.rows()[0]
    assert row["restated_period"] == "billing_period"
    assert row["input_uri"] == row["delivery_id"]
    assert row["delivery_id"].endswith("/BILLING_PERIOD=2026-07")


def test_aws_cur_files_read_parquet(tmp_path: Path):
    at = pa.array([datetime(2026, 7, 1, tzinfo=UTC)], pa.timestamp("ms", tz="UTC"))
    maps = pa.map_(pa.string(), pa.string())
    table = pa.table(
        {
            "bill_billing_period_start_date": at,
            "bill_billing_period_end_date": at,
            "bill_payer_account_id": ["1"],
            "line_item_currency_code": ["USD"],
            "line_item_line_item_type": ["Usage"],
            "line_item_unblended_cost": [0.1],
            "line_item_usage_start_date": at,
            "line_item_usage_end_date": at,
            "product": pa.array([[("product_name", "Amazon Bedrock")]], maps),
            "resource_tags": pa.array([None], maps),
        }
    )
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "export-00001.snappy.parquet")
    [row] = pull(tmp_path, "aws_cur_files", path=str(tmp_path / "data" / "*.parquet")).rows()
    assert row["line_item_unblended_cost"] == Decimal("0.1")
    assert (orjson.loads(row["product"]), row["resource_tags"]) == ({"product_name": "Amazon Bedrock"}, None)


def test_aws_cur_files_refuse_an_export_without_its_costs(tmp_path: Path):
    path = _written(tmp_path / "data" / "a.csv", b"bill_payer_account_id,line_item_usage_type\n1,x\n")
    failure = pull(tmp_path, "aws_cur_files", path=str(path)).failure
    assert "line_item_unblended_cost" in failure.message
    assert "expected a CUR 2.0 export" in failure.message


# ---- deliveries


def _export(folder: Path, parts: int) -> None:
    for number in range(1, parts + 1):
        _written(folder / f"novaspark-{number:05}.csv", CUR.read_bytes())


def test_parts_of_a_folder_are_one_input(tmp_path: Path):
    _export(tmp_path / "export" / "run-1", 2)
    pulled = pull(tmp_path, "aws_cur_files", path=str(tmp_path / "export" / "*" / "*.csv"))
    assert (pulled.landing.rows_read, pulled.landing.rows_landed, pulled.landing.rows_rejected) == (10, 6, 4)
    # The second part's records are numbered on from the five of the first one.
    assert [row["record_index"] for row in pulled.rows()] == [0, 1, 2, 5, 6, 7]
    assert pulled.reasons() == {
        3: "value_unparsable",
        4: "value_missing",
        8: "value_unparsable",
        9: "value_missing",
    }


def test_an_export_that_is_written_again_with_fewer_parts_leaves_none_behind(tmp_path: Path):
    folder = tmp_path / "export" / "run-1"
    options = {"path": str(tmp_path / "export" / "*" / "*.csv")}
    _export(folder, 2)
    pull(tmp_path, "aws_cur_files", **options)
    (folder / "novaspark-00002.csv").unlink()
    second = pull(tmp_path, "aws_cur_files", **options)
    [current] = second.zone.current("aws_cur_files")
    assert (current.rows_landed, current.supersedes is not None) == (3, True)


def test_an_unchanged_folder_is_not_landed_again(tmp_path: Path):
    _export(tmp_path / "export" / "run-1", 2)
    options = {"path": str(tmp_path / "export" / "*" / "*.csv")}
    first = pull(tmp_path, "aws_cur_files", **options)
    second = pull(tmp_path, "aws_cur_files", **options)
    assert first.landing.landing_id == second.landing.landing_id


def test_a_folder_with_an_unreadable_part_keeps_its_former_landing(tmp_path: Path):
    folder = tmp_path / "export" / "run-1"
    options = {"path": str(tmp_path / "export" / "*" / "*.csv*")}
    _export(folder, 1)
    pull(tmp_path, "aws_cur_files", **options)
    _written(folder / "novaspark-00002.csv.gz", gzip.compress(CUR.read_bytes())[:-9])
    second = pull(tmp_path, "aws_cur_files", **options)
    assert "run-1/novaspark-00002.csv.gz" in second.failure.message
    [current] = second.zone.current("aws_cur_files")
    assert current.rows_landed == 3


def _run(folder: Path, name: str, written_at: datetime, parts: int = 1) -> None:
    """Write a run of an export whose newest part is of an instant, and the others of an hour before."""
    _export(folder / name, parts)
    for number, path in enumerate(sorted((folder / name).iterdir()), start=1):
        at = (written_at - timedelta(hours=number < parts)).timestamp()
        os.utime(path, (at, at))


def _written_at(pulled: Pulled) -> dict[str, datetime]:
    """When each run that counts was written, by its name."""
    landings = pulled.zone.current("aws_cur_files")
    rows = [pq.read_table(file.path, partitioning=None).to_pylist()[0] for item in landings for file in item.files]
    return {row["delivery_id"].rpartition("/")[2]: row["modified_at"] for row in rows}


@pytest.mark.parametrize("order", [("f3a1", "0b77"), ("0b77", "f3a1")])
def test_a_run_says_when_it_was_written_whenever_it_was_pulled(tmp_path: Path, order: tuple[str, str]):
    folder = tmp_path / "export"
    runs = {"f3a1": datetime(2026, 7, 15, 6, tzinfo=UTC), "0b77": datetime(2026, 7, 31, 6, tzinfo=UTC)}
    options = {"path": str(folder / "*" / "*.csv")}
    for day, name in enumerate(order, start=1):
        _run(folder, name, runs[name], parts=2)
        pulled = pull(tmp_path, "aws_cur_files", now=datetime(2026, 8, day, tzinfo=UTC), **options)
    assert _written_at(pulled) == runs
    # With another option both are landed anew at one instant, and all at once they are landed from nothing.
    at_once = datetime(2026, 8, 3, tzinfo=UTC)
    again = pull(tmp_path, "aws_cur_files", now=at_once, null_words=("-",), **options)
    assert {item.landed_at for item in again.zone.current("aws_cur_files")} == {at_once}
    assert _written_at(again) == runs
    assert _written_at(pull(tmp_path / "nothing", "aws_cur_files", now=at_once, **options)) == runs


def test_a_run_that_is_written_again_with_the_same_content_is_of_its_last_time(tmp_path: Path):
    folder, options = tmp_path / "export", {"path": str(tmp_path / "export" / "*" / "*.csv")}
    for written_at in (datetime(2026, 7, 15, tzinfo=UTC), datetime(2026, 7, 16, tzinfo=UTC)):
        _run(folder, "run-1", written_at)
        assert _written_at(pull(tmp_path, "aws_cur_files", **options)) == {"run-1": written_at}


@pytest.fixture
def stored() -> Iterator[tuple[Any, dict[str, Any]]]:
    """A client of a real S3 server with a bucket `bills`, and what a source needs to reach it."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    moto.start()
    url = "http://{}:{}".format(*moto.get_host_and_port())
    credentials = {"aws_access_key_id": "writer", "aws_secret_access_key": "not-a-secret"}
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **credentials)
    client.create_bucket(Bucket="bills")
    yield client, {"key": "reader", "secret": "not-a-secret", "client_kwargs": {"endpoint_url": url}}
    moto.stop()


def test_an_export_in_a_bucket_is_one_input_whose_copies_do_not_stay(
    tmp_path: Path, stored: tuple[Any, dict[str, Any]]
):
    client, storage = stored
    for number in (1, 2):
        key = f"cur/data/BILLING_PERIOD=2026-07/novaspark-{number:05}.csv.gz"
        client.put_object(Bucket="bills", Key=key, Body=gzip.compress(CUR.read_bytes()))
    options = {"path": "s3://bills/cur/data/BILLING_PERIOD=*/*.csv.gz", "storage": storage}
    first = pull(tmp_path, "aws_cur_files", **options)
    assert first.landing.input_uri == "s3://bills/cur/data/BILLING_PERIOD=2026-07"
    assert (first.landing.rows_read, first.landing.rows_landed) == (10, 6)
    assert list(first.zone.fetched_dir.iterdir()) == []
    listed = client.list_objects_v2(Bucket="bills")["Contents"]
    assert {row["modified_at"] for row in first.rows()} == {max(item["LastModified"] for item in listed)}
    client.delete_object(Bucket="bills", Key=key)
    second = pull(tmp_path, "aws_cur_files", **options)
    assert (second.landing.rows_landed, second.landing.supersedes) == (3, first.landing.landing_id)
    assert list(second.zone.fetched_dir.iterdir()) == []
    # What has not changed is not even copied.
    third = pull(tmp_path, "aws_cur_files", **options)
    assert third.landing.landing_id == second.landing.landing_id


# ---- Azure


def test_azure_cost_files_read_an_enterprise_agreement(tmp_path: Path):
    pulled = pull(tmp_path, "azure_cost_files", path=str(EA))
    [row] = [row for row in pulled.rows() if row["meter_name"] == "gpt 4.1 cached Inp glbl Tokens"]
    assert row["usage_at"] == datetime(2026, 7, 31, tzinfo=UTC)
    assert (row["billing_period_start_at"], row["billing_period_end_at"]) == (
        datetime(2026, 7, 1, tzinfo=UTC),
        datetime(2026, 7, 31, tzinfo=UTC),
    )
    assert (row["cost_in_billing_currency"], row["quantity"], row["unit_of_measure"]) == (
        Decimal("0.11"),
        Decimal(250),
        "1K",
    )
    assert orjson.loads(row["tags"]) == {"team": "search", "env": "prod"}
    assert (row["billing_currency"], row["resource_group_name"]) == ("EUR", "rg-search")
    assert "owner@" not in str(pulled.rows())


def test_azure_cost_files_reject_a_day_that_is_not_month_first(tmp_path: Path):
    pulled = pull(tmp_path, "azure_cost_files", path=str(EA))
    assert pulled.reasons() == {2: "value_unparsable"}
    # An unknown cost lands, for the gate to stop at.
    assert pulled.rows()[1]["cost_in_billing_currency"] is None


def test_azure_cost_files_read_a_customer_agreement_under_the_same_names(tmp_path: Path):
    [row] = pull(tmp_path, "azure_cost_files", path=str(MCA)).rows()
    assert (row["invoice_id"], row["billing_profile_id"], row["billing_currency"]) == ("G012345678", "BP-1", "EUR")
    assert (row["cost_in_billing_currency"], row["payg_cost_in_billing_currency"]) == (Decimal("22.08"),) * 2
    assert row["usage_at"] == datetime(2026, 7, 2, tzinfo=UTC)
    assert orjson.loads(row["tags"]) == {"team": "search"}
    assert orjson.loads(row["attributes_json"]) == {
        "pricingCurrency": "USD",
        "costInPricingCurrency": "24",
        "costInUsd": "24",
        "paygCostInUsd": "24",
        "exchangeRatePricingToBilling": "0.92",
        "provider": "Azure",
    }


# ---- Google Cloud


@pytest.fixture
def gcp(tmp_path: Path) -> Pulled:
    """Five lines with four credits, of which one line, one cost and one credit cannot be read."""
    return pull(tmp_path, "gcp_billing_files", path=str(GCP))


def test_gcp_billing_files_land_credits_beside_their_charge(gcp: Pulled):
    rows = [(row["record_index"], row["record_type"], row["cost"], row["credit_type"]) for row in gcp.rows()]
    assert rows == [
        (0, "charge", Decimal("0.3"), None),
        (1, "credit", Decimal("-0.05"), "DISCOUNT"),
        (2, "credit", Decimal("-0.010000001"), "PROMOTION"),
        (4, "charge", Decimal("0.0000001"), None),
        (5, "charge", Decimal(2), None),
    ]
    assert gcp.landing.rows_read == 8
    assert gcp.reasons() == {3: "json_broken", 6: "value_missing", 7: "value_missing"}
    # 0.3 - 0.05 = 0.25; - 0.010000001 = 0.239999999; + 0.0000001 = 0.240000099; + 2
    assert Decimal(gcp.landing.amounts["cost"]) == Decimal("2.240000099")


def test_gcp_billing_files_count_usage_and_list_cost_with_the_charge_alone(gcp: Pulled):
    charge, credit, *_ = gcp.rows()
    assert (charge["usage_amount"], charge["cost_at_list"]) == (Decimal(1_000_000), Decimal("0.3"))
    assert (credit["usage_amount"], credit["cost_at_list"]) == (None, None)
    assert (credit["sku_description"], credit["credit_full_name"]) == (
        "Gemini 2.5 Flash GA Text Input - Predictions",
        "Spend-based discount (contract)",
    )


def test_gcp_billing_files_read_nested_names_labels_and_instants(gcp: Pulled):
    row = gcp.rows()[0]
    assert (row["service_description"], row["project_id"], row["invoice_month"]) == (
        "Vertex AI",
        "novaspark-search",
        "202607",
    )
    assert (orjson.loads(row["labels"]), row["system_labels"]) == ({"team": "search"}, None)
    assert row["usage_start_time"] == datetime(2026, 7, 1, 7, tzinfo=UTC)
    assert row["export_time"] == datetime(2026, 7, 1, 13, 5, 11, 123456, tzinfo=UTC)


def test_gcp_billing_files_keep_what_has_no_column(gcp: Pulled):
    first, _, _, second, _ = (orjson.loads(row["attributes_json"]) for row in gcp.rows())
    assert (first["location.country"], first["project.number"]) == ("US", "42")
    assert orjson.loads(first["price"]) == {"effective_price": "0.0000003"}
    assert second["new_field"] == "kept"


def test_gcp_billing_files_number_credits_on_over_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dagster_project.sources._tabular.BATCH_ROWS", 1)
    pulled = pull(tmp_path, "gcp_billing_files", path=str(GCP))
    assert [row["record_index"] for row in pulled.rows()] == [0, 1, 2, 4, 5]
    assert pulled.reasons() == {3: "json_broken", 6: "value_missing", 7: "value_missing"}


def test_gcp_billing_files_round_what_has_more_decimals_than_a_column(tmp_path: Path):
    charge = orjson.loads(GCP.read_bytes().splitlines()[0])
    charge |= {
        "cost": 300.0,
        "credits": [{"name": "x", "amount": -0.00012345678901234567}],
        "usage": {**charge["usage"], "amount": 12.0, "amount_in_pricing_units": 12 / 3600 / 1000},
    }
    path = _written(tmp_path / "202607" / "0.json", orjson.dumps(charge))
    pulled = pull(tmp_path, "gcp_billing_files", path=str(path))
    # 12 / 3,600,000 is 3.3333333333333333e-06 as a double.
    assert [(row["cost"], row["usage_amount_in_pricing_units"]) for row in pulled.rows()] == [
        (Decimal(300), Decimal("0.000003333333333333")),
        (Decimal("-0.000123456789012346"), None),
    ]
    assert pulled.rejects() == []


def test_aws_cur_files_round_doubles_of_parquet(tmp_path: Path):
    with CUR.open(encoding="utf-8", newline="") as stream:
        line = next(csv.DictReader(stream))
    path = tmp_path / "data" / "a.parquet"
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([{**line, "line_item_unblended_cost": 1.3888888888888889e-05}]), path)
    pulled = pull(tmp_path, "aws_cur_files", path=str(path))
    assert [row["line_item_unblended_cost"] for row in pulled.rows()] == [Decimal("0.000013888888888889")]


@pytest.mark.parametrize("change", [{"usage_start_time": 1782864000}, {"cost": True}, {"usage": {"amount": "many"}}])
def test_gcp_billing_files_reject_a_retyped_field_with_its_record_alone(tmp_path: Path, change: dict[str, Any]):
    good = {**orjson.loads(GCP.read_bytes().splitlines()[0]), "credits": []}
    path = tmp_path / "202607" / "a.json"
    for others in ([], [good]):
        _written(path, b"\n".join(orjson.dumps(record) for record in [{**good, **change}, *others]))
        pulled = pull(tmp_path, "gcp_billing_files", path=str(path))
        assert (pulled.landing.rows_landed, pulled.reasons()) == (len(others), {0: "value_unparsable"})


# ---- FOCUS as the clouds write it


@pytest.mark.parametrize(
    ("name", "columns", "version", "meter", "invoice_id"),
    [
        ("aws_1_0", 48, "1.0", "USE1-NovaPro-input-tokens", None),
        ("aws_1_2", 60, "1.2", "USE1-NovaPro-input-tokens", "2026-0701"),
        ("azure_1_0", 96, "1.0", "gpt 4.1 cached Inp glbl Tokens", "E0800ABC"),
        ("azure_1_2", 105, "1.2", "gpt 4.1 cached Inp glbl Tokens", "E0800ABC"),
    ],
)
def test_focus_files_read_the_clouds_exports(  # noqa: PLR0917 - one row of the table above
    tmp_path: Path, name: str, columns: int, version: str, meter: str, invoice_id: str | None
):
    path = FIXTURES / "focus" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        assert len(next(csv.reader(stream))) == columns
    row, *_ = pull(tmp_path, "focus_files", path=str(path)).rows()
    assert (row["focus_version"], row["sku_meter"], row["invoice_id"]) == (version, meter, invoice_id)
    assert row["charge_period_start"] == datetime(2026, 7, 1, tzinfo=UTC)
    assert row["billing_period_end"] == datetime(2026, 8, 1, tzinfo=UTC)
    assert (row["billed_cost"], row["consumed_quantity"]) in {
        (Decimal("0.01"), Decimal("12.5")),
        (Decimal("0.11"), Decimal(250)),
    }
    assert row["billing_currency"] in {"USD", "EUR"}
    # No column is lost: it has its own, or is kept, or took the place of one that a later version brought.
    kept = orjson.loads(row["attributes_json"])
    assert not {"x_InvoiceId", "x_UsageType"} & kept.keys()
