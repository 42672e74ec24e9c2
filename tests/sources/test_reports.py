"""Providers' cost and usage reports: exact amounts, counts as reported, one reject per result that cannot be read."""

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.sources.pulling import FIXTURES, pull

REPORTS = FIXTURES / "reports"
ACCOUNT = "org-1"
DAY = (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC))


def _cost_page(value: str) -> str:
    """One page of OpenAI's cost report with an amount as it is written there."""
    amount = f'{{"value": {value}, "currency": "usd"}}'
    result = f'{{"object": "organization.costs.result", "amount": {amount}}}'
    return f'{{"data": [{{"start_time": 1782864000, "end_time": 1782950400, "results": [{result}]}}]}}'


def test_openai_costs_are_dollars_as_they_are_written(tmp_path: Path):
    pulled = pull(tmp_path, "openai_costs", path=str(REPORTS / "openai_costs.json"), billing_account_id=ACCOUNT)
    rows = pulled.rows()
    assert [(row["line_name"], row["amount"], row["currency"]) for row in rows] == [
        # 1.1274999999999999e-4 has 20 decimals, 0.000112749999999999|99: rounded at the 18th.
        ("web search tool calls", Decimal("0.000112750000000000"), "USD"),
        ("Service credit", Decimal("-25"), "USD"),
        ("gpt-4.1, input", Decimal("0.07"), "USD"),
    ]
    assert {(row["bucket_start_at"], row["bucket_end_at"], row["billing_account_id"]) for row in rows} == {
        (*DAY, ACCOUNT)
    }
    assert (rows[2]["quantity"], rows[2]["quantity_unit"]) == (Decimal(35), "1000_tokens")
    assert json.loads(rows[2]["attributes_json"]) == {"api_source": "agents_api"}


def test_reports_in_files_say_when_they_were_written(tmp_path: Path):
    path = tmp_path / "costs.json"
    path.write_text(_cost_page("1"), encoding="utf-8")
    written_at = datetime(2026, 7, 5, tzinfo=UTC)
    os.utime(path, (written_at.timestamp(),) * 2)
    [row] = pull(tmp_path, "openai_costs", path=str(path), billing_account_id=ACCOUNT).rows()
    assert row["modified_at"] == written_at


def test_openai_costs_rejects_result_by_result_with_reasons(tmp_path: Path):
    pulled = pull(tmp_path, "openai_costs", path=str(REPORTS / "openai_costs.json"), billing_account_id=ACCOUNT)
    # Position 0 is the bucket's former copy, which the second page repeats; position 11 is the error page.
    assert pulled.reasons() == {
        0: "bucket_repeated",
        3: "value_missing",
        4: "value_unknown",
        5: "value_unparsable",
        6: "result_unknown",
        8: "value_out_of_range",
        9: "value_missing",
        10: "bucket_unknown",
        11: "page_unknown",
    }
    assert pulled.landing.rows_read == 12


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.1", "0.1"),
        ("412.37", "412.37"),
        ("1e-05", "0.00001"),
        # A double would make 0.1000000000000000055 of the first; beyond 18 decimals half goes to the even digit.
        ("0.123456789012345678", "0.123456789012345678"),
        ("0.0000000000000000005", "0"),
        ("0.0000000000000000015", "0.000000000000000002"),
        ("12345678901234567890", "12345678901234567890"),
    ],
)
def test_openai_costs_never_pass_through_a_float(tmp_path: Path, written: str, read: str):
    (tmp_path / "costs.json").write_text(_cost_page(written), encoding="utf-8")
    pulled = pull(tmp_path, "openai_costs", path=str(tmp_path / "costs.json"), billing_account_id=ACCOUNT)
    assert [row["amount"] for row in pulled.rows()] == [Decimal(read)]


@pytest.mark.parametrize("written", ["1e20", "true", '"NaN"', "[]"])
def test_openai_costs_rejects_an_amount_that_is_no_number_of_money(tmp_path: Path, written: str):
    (tmp_path / "costs.json").write_text(_cost_page(written), encoding="utf-8")
    pulled = pull(tmp_path, "openai_costs", path=str(tmp_path / "costs.json"), billing_account_id=ACCOUNT)
    assert pulled.reasons() == {0: "value_unparsable"}


def test_anthropic_costs_are_cents(tmp_path: Path):
    path = str(REPORTS / "anthropic_costs.jsonl")
    pulled = pull(tmp_path, "anthropic_costs", path=path, billing_account_id=ACCOUNT)
    # 123.78912 cents are 1.2378912 dollars, 2799.187450 are 27.9918745.
    assert [(row["amount"], row["cost_type"], row["token_type"]) for row in pulled.rows()] == [
        (Decimal("1.2378912"), "tokens", "uncached_input_tokens"),
        (Decimal("27.9918745"), "web_search", None),
    ]
    # Amounts in another currency are of an unknown unit; the second line is no page.
    assert pulled.reasons() == {2: "value_unknown", 3: "json_broken"}
    assert [row["raw_text"] for row in pulled.rejects()][1] == "this line is not JSON"


def test_openai_usage_lands_counts_as_they_are_reported(tmp_path: Path):
    path = str(REPORTS / "openai_usage.json")
    pulled = pull(tmp_path, "openai_usage", path=path, billing_account_id=ACCOUNT)
    columns = ("endpoint_type", "model_name", "input_tokens", "input_cached_tokens", "output_tokens", "api_key_id")
    assert [tuple(row[name] for name in columns) for row in pulled.rows()] == [
        ("completions", "gpt-4.1-2025-04-14", 1000, 800, 500, "key_1"),
        ("completions", "gpt-4.1-2025-04-14", 70, None, 7, None),
        ("embeddings", "text-embedding-3-small", 64, None, None, "key_1"),
    ]
    assert [(row["is_batch"], row["service_tier"], row["has_api_keys"]) for row in pulled.rows()] == [
        (False, "default", True),
        (True, None, True),
        (None, None, True),
    ]
    assert pulled.reasons() == {3: "value_unparsable", 4: "result_unknown"}
    assert (pulled.landing.tokens_in, pulled.landing.tokens_out) == (1134, 507)


def test_anthropic_usage_lands_counts_as_they_are_reported(tmp_path: Path):
    path = str(REPORTS / "anthropic_usage.json")
    pulled = pull(tmp_path, "anthropic_usage", path=path, billing_account_id=ACCOUNT, keep_user_ids=True)
    [row] = pulled.rows()
    names = (
        "uncached_input_tokens", "cache_read_input_tokens", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens",
        "output_tokens", "web_search_requests",
    )  # fmt: skip
    assert [row[name] for name in names] == [1500, 200, 500, 1000, 500, 10]
    assert (row["project_id"], row["user_id"], row["region_id"]) == ("wrkspc_1", "user_1", "global")
    assert (row["bucket_start_at"], row["bucket_end_at"]) == DAY
    assert json.loads(row["attributes_json"]) == {"service_account_id": "svac_1"}


def test_report_pages_are_read_alike_as_page_list_and_lines(tmp_path: Path):
    page = json.loads((REPORTS / "anthropic_usage.json").read_text(encoding="utf-8"))
    texts = {
        "one.json": json.dumps(page, indent=2),
        "list.json": json.dumps([page]),
        "lines.jsonl": f"{json.dumps(page)}\n",
    }
    found = []
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        folder = tmp_path / name.replace(".", "_")
        rows = pull(folder, "anthropic_usage", path=str(tmp_path / name), billing_account_id=ACCOUNT).rows()
        of_file = {"input_uri", "modified_at"}
        found.append([{key: value for key, value in row.items() if key not in of_file} for row in rows])
    assert len(found[0]) == 1
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("content", ["", "<html>Bad gateway</html>", '{"data": ['])
def test_report_that_is_no_json_is_refused_whole(tmp_path: Path, content: str):
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    pulled = pull(tmp_path, "openai_usage", path=str(tmp_path / "report.json"), billing_account_id=ACCOUNT)
    assert "expected a page of the report" in pulled.failure.message


def test_results_of_one_bucket_that_differ_in_nothing_but_amounts_are_both_landed(tmp_path: Path):
    result = '{"object": "organization.costs.result", "amount": {"value": 2, "currency": "usd"}}'
    bucket = f'{{"start_time": 1782864000, "end_time": 1782950400, "results": [{result}, {result}]}}'
    (tmp_path / "costs.json").write_text(f'{{"data": [{bucket}]}}', encoding="utf-8")
    pulled = pull(tmp_path, "openai_costs", path=str(tmp_path / "costs.json"), billing_account_id=ACCOUNT)
    assert sum(row["amount"] for row in pulled.rows()) == Decimal(4)
