"""OpenAI's cost report, `GET /v1/organization/costs`: one record per result of a daily bucket.

Amounts are dollars, written as JSON numbers, and are read as the decimals that stand there. A line item is the model
and what was metered, `gpt-4.1, input`. A dimension by which the report is not grouped is null.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.sources._connector import Connector, InputPull, PullContext
from dagster_project.sources._reports import (
    COSTS,
    ReportFormat,
    ReportOptions,
    amount,
    money,
    others_json,
    report_inputs,
)
from dagster_project.sources._reports import text as text_of

_MEMBERS = ("object", "amount", "line_item", "project_id", "user_id", "api_key_id", "quantity", "quantity_unit")


def _columns(result: Mapping[str, Any]) -> dict[str, Any]:
    given = result.get("amount")
    value = given if isinstance(given, dict) else {"value": given}
    return {
        **money(value.get("value"), value.get("currency")),
        "line_name": text_of(result.get("line_item")),
        "project_id": text_of(result.get("project_id")),
        "user_id": text_of(result.get("user_id")),
        "api_key_id": text_of(result.get("api_key_id")),
        "quantity": amount(result.get("quantity"), "quantity"),
        "quantity_unit": text_of(result.get("quantity_unit")),
        "attributes_json": others_json(result, _MEMBERS),
    }


FORMAT = ReportFormat(COSTS, "start_time", "end_time", frozenset({"amount", "quantity"}), _columns)


def _read(options: ReportOptions, context: PullContext) -> Iterator[InputPull]:
    return report_inputs(options, context, FORMAT)


connector = Connector(kind="openai_costs", feed="invoices", entities=(COSTS,), options=ReportOptions, read=_read)
