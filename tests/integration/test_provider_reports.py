"""OpenAI's and Anthropic's usage and cost reports, asked for from their APIs, against the calls: day by day, by kind.

Prices in USD per million: gpt-4.1 2.00, cached 0.50, output 8.00; claude-sonnet-4-5 3.00 and 15.00, priority double.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from dagster_project import runner
from dagster_project.progress import Progress
from dagster_project.runner import RunOutcome
from dagster_project.settings import Settings, load_settings
from tests.integration.small_company import SEED_HEADERS, TERMS_HEADER, query
from tests.sources.api_server import api_server
from tests.sources.vendors import ANTHROPIC_KEY, OPENAI_KEY, Results, anthropic, openai, utc_day

CONFIG = """\
organization: Mill
start_date: 2026-07-01
as_of: 2026-07-03T00:00:00Z
reference_dir: reference
sources:
  - name: calls
    kind: table_files
    path: calls.csv
    format: csv
    timestamp: {format: iso}
    input_includes_cache: true
    columns:
      event_at: at
      call_id: id
      provider_name: provider
      model_name: model
      service_tier: tier
      input_tokens: tokens_in
      cache_read_tokens: tokens_cached
      output_tokens: tokens_out
  - {name: contracts, kind: contract_files, path: contracts/*.csv}
  - name: openai_usage
    kind: openai_usage
    billing_account_id: org-mill
    api: {url: "${VENDOR_URL}", key: "${OPENAI_ADMIN_KEY}", start_date: 2026-07-01, endpoints: [completions]}
  - name: openai_costs
    kind: openai_costs
    billing_account_id: org-mill
    api: {url: "${VENDOR_URL}", key: "${OPENAI_ADMIN_KEY}", start_date: 2026-07-01}
  - name: anthropic_usage
    kind: anthropic_usage
    billing_account_id: claude-mill
    api: {url: "${VENDOR_URL}", key: "${ANTHROPIC_ADMIN_KEY}", start_date: 2026-07-01}
  - name: anthropic_costs
    kind: anthropic_costs
    billing_account_id: claude-mill
    api: {url: "${VENDOR_URL}", key: "${ANTHROPIC_ADMIN_KEY}", start_date: 2026-07-01}
"""

CALLS = [
    "at,id,provider,model,tier,tokens_in,tokens_cached,tokens_out",
    "2026-07-01T08:00:00Z,a,openai,gpt-4.1,standard,1000,400,100",
    "2026-07-01T09:00:00Z,b,openai,gpt-4.1,standard,1000,400,100",
    "2026-07-02T08:00:00Z,c,openai,gpt-4.1,standard,1000,0,100",
    "2026-07-01T08:00:00Z,d,anthropic,claude-sonnet-4-5,standard,1000,0,200",
    "2026-07-01T09:00:00Z,e,anthropic,claude-sonnet-4-5,priority,500,0,50",
]
TERMS = [
    ("openai", "gpt-4.1", "input", "2.00", "standard"), ("openai", "gpt-4.1", "cache_read", "0.50", "standard"),
    ("openai", "gpt-4.1", "output", "8.00", "standard"),
    ("anthropic", "claude-sonnet-4-5", "input", "3.00", "standard"),
    ("anthropic", "claude-sonnet-4-5", "output", "15.00", "standard"),
    ("anthropic", "claude-sonnet-4-5", "input", "6.00", "priority"),
    ("anthropic", "claude-sonnet-4-5", "output", "30.00", "priority"),
]  # fmt: skip


def _openai_cost(value: float, line: str, **quantity: object) -> dict[str, Any]:
    amount = {"value": value, "currency": "usd"}
    return {"object": "organization.costs.result", "amount": amount, "line_item": line, **quantity}


def _anthropic_cost(cents: str, token_type: str | None, cost_type: str = "tokens") -> dict[str, Any]:
    model = "claude-sonnet-4-5" if token_type else None
    tier = "standard" if token_type else None
    words = f"Claude Sonnet 4.5 Usage - {token_type}" if token_type else "Code Execution Usage"
    return {
        "amount": cents, "currency": "USD", "cost_type": cost_type, "description": words, "model": model,
        "service_tier": tier, "token_type": token_type,
    }  # fmt: skip


def _openai_usage(input_tokens: int, cached: int, output_tokens: int, requests: int) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result", "model": "gpt-4.1", "service_tier": "default",
        "api_key_id": "key_mill", "batch": False, "input_tokens": input_tokens, "input_cached_tokens": cached,
        "output_tokens": output_tokens, "num_model_requests": requests,
    }  # fmt: skip


def _anthropic_usage(tier: str, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "model": "claude-sonnet-4-5", "service_tier": tier, "api_key_id": "apikey_mill", "context_window": "0-200k",
        "uncached_input_tokens": input_tokens, "cache_read_input_tokens": 0, "output_tokens": output_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "server_tool_use": {"web_search_requests": 0},
    }  # fmt: skip


OPENAI_USAGE: Results = {
    # 500 of input and 50 of output more than the calls say.
    utc_day(1): [_openai_usage(2500, 800, 250, 3)],
    utc_day(2): [_openai_usage(1000, 0, 100, 1)],
}
OPENAI_COSTS: Results = {
    # 1,700 x 0.000002, 800 x 0.0000005 and 250 x 0.000008.
    utc_day(1): [
        _openai_cost(0.0034, "gpt-4.1, input"), _openai_cost(0.0004, "gpt-4.1, cached input"),
        _openai_cost(0.002, "gpt-4.1, output"), _openai_cost(0.01, "web search tool calls"),
    ],
    # 1,000 of input cost 0.002 by the rate card.
    utc_day(2): [
        _openai_cost(0.052, "gpt-4.1, input", quantity=1, quantity_unit="1000_tokens"),
        _openai_cost(0.0008, "gpt-4.1, output", quantity=100, quantity_unit="tokens"),
    ],
}  # fmt: skip
ANTHROPIC_USAGE: Results = {
    utc_day(1): [_anthropic_usage("standard", 1000, 200), _anthropic_usage("priority", 500, 50)],
}
# The Priority Tier is not in the cost report. 1,000 x 0.000003 and 200 x 0.000015 are 0.3 cents each.
ANTHROPIC_COSTS: Results = {
    utc_day(1): [
        _anthropic_cost("0.3", "uncached_input_tokens"), _anthropic_cost("0.3", "output_tokens"),
        _anthropic_cost("5", None, "code_execution"),
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """The company after its run."""

    settings: Settings
    outcome: RunOutcome

    def steps(self, provider: str, layer: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """Give units and difference by day, component, tier, kind and cause."""
        rows = query(
            self.settings.serving_path,
            """
            select event_date, component_name, service_tier, unit_kind_type, cause_type, quantity_units,
                compared_cost_usd, reported_cost_usd
            from marts.rpt_daily_reconciliation where provider_name = $provider and layer_type = $layer
            """,
            {"provider": provider, "layer": layer},
        )
        return {(row[0].day, *row[1:5]): row[5:] for row in rows}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compared]:
    folder = tmp_path_factory.mktemp("reports")
    (folder / "reference").mkdir()
    (folder / "contracts").mkdir()
    for name, header in SEED_HEADERS.items():
        (folder / "reference" / f"{name}.csv").write_text(header + "\n", encoding="utf-8")
    terms = [
        f"card,{provider},{model},unit_price,{kind},{price},,{tier},2026-01-01,,2026-01-01,true,Price page"
        for provider, model, kind, price, tier in TERMS
    ]
    (folder / "contracts" / "card.csv").write_text("\n".join([TERMS_HEADER, *terms]) + "\n", encoding="utf-8")
    (folder / "calls.csv").write_text("\n".join(CALLS) + "\n", encoding="utf-8")
    (folder / "company.yaml").write_text(CONFIG, encoding="utf-8")
    routes = {
        **openai({"usage/completions": OPENAI_USAGE, "costs": OPENAI_COSTS}),
        **anthropic({"usage_report/messages": ANTHROPIC_USAGE, "cost_report": ANTHROPIC_COSTS}),
    }
    with (
        api_server(routes) as server,
        mock.patch.object(runner, "dagster_instance", return_value=dg.DagsterInstance.ephemeral()),
    ):
        environ = {"VENDOR_URL": server.url, "OPENAI_ADMIN_KEY": OPENAI_KEY, "ANTHROPIC_ADMIN_KEY": ANTHROPIC_KEY}
        settings = load_settings(config_path=folder / "company.yaml", state_dir=folder / "state", environ=environ)
        yield Compared(settings, runner.run_main_job(settings, Progress()))


def test_reports_that_are_asked_for_pass_every_gate(compared: Compared):
    assert [check.name for check in compared.outcome.failed_checks] == []


def test_openai_calls_usage_and_costs_agree_but_for_what_is_named(compared: Compared):
    def usd(text: str) -> Decimal:
        return Decimal(text)

    cached = ("calls", "standard", "cache_read")
    read, said = ("calls", "standard", "input"), ("calls", "standard", "output")
    assert compared.steps("openai", "calls_to_usage_report") == {
        (1, *read, None): (1200, usd("0.0024"), usd("0.0024")),
        (1, *read, "missing_telemetry"): (500, 0, usd("0.001")),
        (1, *cached, None): (800, usd("0.0004"), usd("0.0004")),
        (1, *said, None): (200, usd("0.0016"), usd("0.0016")),
        (1, *said, "missing_telemetry"): (50, 0, usd("0.0004")),
        (2, *read, None): (1000, usd("0.002"), usd("0.002")),
        (2, *said, None): (100, usd("0.0008"), usd("0.0008")),
    }
    # A line item does not say its tier.
    read_by_cost, cached_by_cost, said_by_cost = (("calls", None, key[2]) for key in (read, cached, said))
    assert compared.steps("openai", "usage_report_to_cost_report") == {
        (1, *read_by_cost, None): (1700, usd("0.0034"), usd("0.0034")),
        (1, *cached_by_cost, None): (800, usd("0.0004"), usd("0.0004")),
        (1, *said_by_cost, None): (250, usd("0.002"), usd("0.002")),
        (1, "calls", None, "web_search", "tool_charge"): (None, 0, usd("0.01")),
        (2, *read_by_cost, None): (1000, usd("0.002"), usd("0.002")),
        (2, *read_by_cost, "price_difference"): (1000, 0, usd("0.05")),
        (2, *said_by_cost, None): (100, usd("0.0008"), usd("0.0008")),
    }


def test_anthropic_priority_tier_is_absent_from_the_cost_report(compared: Compared):
    units = compared.steps("anthropic", "calls_to_usage_report")
    assert {(key[2], key[3], key[4]): row[0] for key, row in units.items()} == {
        ("standard", "input", None): 1000, ("standard", "output", None): 200,
        ("priority", "input", None): 500, ("priority", "output", None): 50,
    }  # fmt: skip
    costs = compared.steps("anthropic", "usage_report_to_cost_report")
    # 500 x 0.000006 and 50 x 0.00003 of the Priority Tier.
    assert {(key[2], key[3], key[4]): row[1:] for key, row in costs.items() if key[3] != "code_session"} == {
        ("standard", "input", None): (Decimal("0.003"), Decimal("0.003")),
        ("standard", "output", None): (Decimal("0.003"), Decimal("0.003")),
        ("priority", "input", None): (Decimal("0.003"), Decimal("0.003")),
        ("priority", "input", "tier_absent_from_report"): (0, Decimal("-0.003")),
        ("priority", "output", None): (Decimal("0.0015"), Decimal("0.0015")),
        ("priority", "output", "tier_absent_from_report"): (0, Decimal("-0.0015")),
    }
    executed = [(key[4], row[2]) for key, row in costs.items() if key[3] == "code_session"]
    assert executed == [("tool_charge", Decimal("0.05"))]


def test_nothing_is_unexplained(compared: Compared):
    unexplained = "select * from marts.rpt_daily_reconciliation where status_type = 'unexplained'"
    assert query(compared.settings.serving_path, unexplained) == []
