"""Anthropic's cost report, `GET /v1/organizations/cost_report`: one record per result of a daily bucket.

An amount is the text of a decimal in the currency's smallest unit: "123.45" in USD is 1.2345 dollars. The report leaves
out what the Priority Tier costs; the usage report has its tokens.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.sources._connector import Connector, InputPull, PullContext
from dagster_project.sources._reports import (
    COSTS,
    ReportFormat,
    ReportOptions,
    ResultError,
    money,
    others_json,
    report_inputs,
)
from dagster_project.sources._reports import text as text_of

_MEMBERS = (
    "amount", "currency", "description", "cost_type", "token_type", "model", "service_tier", "inference_geo",
    "context_window", "workspace_id",
)  # fmt: skip
# Decimals between a currency and its smallest unit.
_SHIFTS = {"USD": 2}


def _columns(result: Mapping[str, Any]) -> dict[str, Any]:
    currency = str(result.get("currency") or "").upper()
    if currency not in _SHIFTS:
        code = "value_unknown"
        raise ResultError(code, f"currency {result.get('currency')!r}: amounts are documented in cents of USD only")
    return {
        **money(result.get("amount"), currency, shift=_SHIFTS[currency]),
        "line_name": text_of(result.get("description")),
        "cost_type": text_of(result.get("cost_type")),
        "token_type": text_of(result.get("token_type")),
        "model_name": text_of(result.get("model")),
        "service_tier": text_of(result.get("service_tier")),
        "region_id": text_of(result.get("inference_geo")),
        "context_window": text_of(result.get("context_window")),
        "project_id": text_of(result.get("workspace_id")),
        "attributes_json": others_json(result, _MEMBERS),
    }


FORMAT = ReportFormat(COSTS, "starting_at", "ending_at", frozenset({"amount"}), _columns)


def _read(options: ReportOptions, context: PullContext) -> Iterator[InputPull]:
    return report_inputs(options, context, FORMAT)


connector = Connector(kind="anthropic_costs", feed="invoices", entities=(COSTS,), options=ReportOptions, read=_read)
