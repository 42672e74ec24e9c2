"""Clouds' bills and logs through the whole pipeline: a Bedrock bill that its calls explain, and four other bills.

Two calls of Nova Pro: 10,000 + 2,500 = 12,500 tokens in at 0.80 USD per million are 0.01, 2,500 + 500 = 3,000 out at
3.20 are 0.0096. AWS bills 12.5 and 3 thousands of them, and 0.0023 of tax: 0.01 + 0.0096 + 0.0023 = 0.0219.
"""

import csv
from decimal import Decimal

import orjson
import pytest

from dagster_project.runner import RunOutcome
from tests.integration.small_company import SmallCompany
from tests.sources.pulling import FIXTURES

pytestmark = pytest.mark.integration

CONFIG = """\
organization: Mill
start_date: 2026-07-01
as_of: 2026-08-20T00:00:00Z
reference_dir: reference
sources:
  - name: bedrock
    kind: bedrock_logs
    path: logs/*.json
    request_metadata: {use_case_id: app, use_case_instance_id: run}
  - {name: contracts, kind: contract_files, path: contracts/*.csv}
  - {name: aws_bill, kind: aws_cur_files, path: cur/*/*.csv}
  - {name: azure_bill, kind: azure_cost_files, path: azure/*/*.csv}
  - {name: google_bill, kind: gcp_billing_files, path: gcp/*/*.json}
  - name: mistral_bill
    kind: invoice_files
    path: mistral/*.csv
    columns: {charge_period_start: day, billed_cost: amount, charge_description: text, charge_category: category}
    constants: {provider_name: mistral, billing_account_id: mill, billing_currency: EUR, invoice_id: R-7}
"""
NOVA = "amazon.nova-pro-v1:0"
INVOCATION = {
    "schemaType": "ModelInvocationLog",
    "schemaVersion": "1.0",
    "accountId": "222222222222",
    "region": "us-east-1",
    "operation": "Converse",
    "modelId": f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}",
    "requestMetadata": {"app": "support", "run": "c-1"},
}


def _invocation(request_id: str, tokens_in: int, tokens_out: int) -> str:
    counts = {"input": {"inputTokenCount": tokens_in}, "output": {"outputTokenCount": tokens_out}}
    record = {**INVOCATION, **counts, "requestId": request_id, "timestamp": "2026-07-01T00:30:00Z"}
    return orjson.dumps(record).decode()


def _aws_lines() -> list[str]:
    """The fixture's header and its lines of input and tax, and a line of output in between."""
    with (FIXTURES / "aws_cur_files" / "novaspark-00001.csv").open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        usage, _, tax, *_ = reader
        names = reader.fieldnames or []
    metered = {**usage, "product": '{"product_name":"Amazon Bedrock"}', "bill_invoice_id": "A-7"}
    output = {
        **metered,
        "line_item_usage_type": "USE1-NovaPro-output-tokens",
        "line_item_line_item_description": "$0.0032 per 1K output tokens",
        "line_item_usage_amount": "3.0000000000",
        "line_item_unblended_cost": "0.0096000000",
    }
    rows = [metered, output, {**tax, "bill_invoice_id": "A-7"}]
    quoted = [[str(row[name] or "").replace('"', '""') for name in names] for row in rows]
    return [",".join(names), *(",".join(f'"{value}"' for value in row) for row in quoted)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallCompany, RunOutcome]:
    company = SmallCompany.found(tmp_path_factory.mktemp("clouds") / "company")
    company.write("company.yaml", CONFIG.splitlines())
    for seed in ("seed_capacity_throughputs", "seed_commitments", "seed_deployments"):
        company.write_seed(seed, [])
    company.write_seed("seed_exchange_rates", ["EUR,2026-01-01,1.10,Treasury"])
    company.write_seed("seed_model_aliases", [f"aws,NovaPro,{NOVA},Usage type of AWS"])
    company.write_seed("seed_provider_aliases", ["aws.bedrock,aws,,OpenTelemetry GenAI registry"])
    company.write_terms(
        "rates.csv",
        [
            f"card,aws,{NOVA},unit_price,{kind},{price},,standard,2026-01-01,,2026-01-01,true,Price page"
            for kind, price in (("input", "0.80"), ("output", "3.20"))
        ],
    )
    company.write("logs/a.json", [_invocation("r-1", 10_000, 2_500), _invocation("r-2", 2_500, 500)])
    company.write("cur/BILLING_PERIOD=2026-07/mill-00001.csv", _aws_lines())
    enterprise = (FIXTURES / "azure_cost_files" / "ea_2024-08-01.csv").read_text(encoding="utf-8").splitlines()
    company.write("azure/run-1/part_0_0001.csv", enterprise[:2])
    google = (FIXTURES / "gcp_billing_files" / "000000000000.json").read_text(encoding="utf-8").splitlines()
    company.write("gcp/202607/000000000000.json", google[:1])
    company.write("mistral/july.csv", ["day,amount,text,category", "2026-07-31,100.00,Support plan,Usage"])
    return company, company.run()


def test_all_kinds_pass_their_gates(built: tuple[SmallCompany, RunOutcome]):
    _, outcome = built
    assert outcome.failures == []
    assert outcome.failed_checks == []
    assert outcome.is_success


def test_calls_of_the_log_are_priced(built: tuple[SmallCompany, RunOutcome]):
    company, _ = built
    assert company.rows("""
        select call_id, model_id, use_case_id, use_case_instance_id, effective_cost_usd from marts.fct_calls order by 1
    """) == [
        # 10,000 x 0.80 + 2,500 x 3.20 and 2,500 x 0.80 + 500 x 3.20 millionths
        ("r-1", NOVA, "support", "c-1", Decimal("0.016")),
        ("r-2", NOVA, "support", "c-1", Decimal("0.0036")),
    ]


def test_bill_of_aws_is_explained_by_the_calls_of_the_log(built: tuple[SmallCompany, RunOutcome]):
    company, _ = built
    assert company.rows("""
        select
            charge_type, driver_type, model_id, unit_kind_type, service_tier, consumed_quantity_units, billed_cost_usd
        from marts.fct_invoice_lines where provider_name = 'aws' order by billed_cost_usd
    """) == [
        ("Tax", "tax", None, None, None, None, Decimal("0.0023")),
        ("Usage", "calls", NOVA, "output", "standard", Decimal(3_000), Decimal("0.0096")),
        ("Usage", "calls", NOVA, "input", "standard", Decimal(12_500), Decimal("0.01")),
    ]
    assert company.rows("""
        select billing_account_id, line_count, call_count, invoice_usd, unexplained_usd, status_type
        from marts.rpt_billing_periods where provider_name = 'aws'
    """) == [("111111111111", 3, 2, Decimal("0.0219"), Decimal(0), "final")]


def test_other_bills_count_in_their_own_words(built: tuple[SmallCompany, RunOutcome]):
    company, _ = built
    assert company.rows("""
        select provider_name, charge_type, driver_type, unit_kind_type, consumed_unit_name, consumed_quantity_units,
            billed_cost_usd, billing_period_start_date::varchar, is_bill
        from marts.fct_invoice_lines where provider_name <> 'aws' order by 1, 2, billed_cost_usd
    """) == [
        # 0.11 EUR at 1.10
        ("azure", "Usage", "calls", "cache_read", "Tokens", Decimal(250_000), Decimal("0.121"), "2026-07-01", True),
        ("google", "Credit", "credit", None, "count", None, Decimal("-0.05"), "2026-07-01", True),
        ("google", "Credit", "credit", None, "count", None, Decimal("-0.010000001"), "2026-07-01", True),
        ("google", "Usage", "calls", "input", "Tokens", Decimal(1_000_000), Decimal("0.3"), "2026-07-01", True),
        # 100 EUR at 1.10
        ("mistral", "Usage", "other", None, None, None, Decimal("110.00"), "2026-07-01", True),
    ]


def test_tags_say_whose_a_bill_is(built: tuple[SmallCompany, RunOutcome]):
    company, _ = built
    assert company.rows("""
        select provider_name, tagged_team_name from marts.fct_invoice_lines
        where charge_type = 'Usage' and tagged_team_name is not null group by all order by all
    """) == [("aws", "search"), ("azure", "search"), ("google", "search")]
