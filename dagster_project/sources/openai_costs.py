"""OpenAI's cost report, `GET /v1/organization/costs`: one record per result of a daily bucket.

Amounts are dollars, written as JSON numbers, and are read as the decimals that stand there. A line item is the model
and what was metered, `gpt-4.1, input`. A dimension by which the report is not grouped is null.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from dagster_project.sources._api import Api, bearer, query
from dagster_project.sources._connector import Connector
from dagster_project.sources._reports import (
    COSTS,
    Report,
    ReportApi,
    ReportEndpoint,
    ReportFormat,
    ReportOptions,
    amount,
    money,
    others_json,
)
from dagster_project.sources._reports import text as text_of


class OpenaiCostsApi(ReportApi):
    """How the costs are asked for."""

    url: str = Field(default="https://api.openai.com", exclude=True)
    group_by: tuple[Literal["project_id", "user_id", "line_item", "api_key_id", "api_source"], ...] = (
        "project_id",
        "line_item",
    )


class OpenaiCostsOptions(ReportOptions):
    """Options of a source of OpenAI's costs."""

    api: OpenaiCostsApi | None = None


ENTITY = replace(COSTS, known_attributes=frozenset({"api_source"}))

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


def _endpoints(api: OpenaiCostsApi) -> list[ReportEndpoint]:
    return [
        ReportEndpoint(
            "v1/organization/costs",
            lambda window: query(
                start_time=int(window.start_at.timestamp()),
                end_time=int(window.end_at.timestamp()),
                bucket_width="1d",
                group_by=api.group_by,
                limit=1,
            ),
        )
    ]


FORMAT = ReportFormat(ENTITY, "start_time", "end_time", frozenset({"amount", "quantity"}), _columns)
_REPORT = Report(FORMAT, lambda api: Api(api, {"Authorization": bearer(api.key)}), _endpoints)

connector = Connector(
    kind="openai_costs",
    feed="invoices",
    entities=(ENTITY,),
    options=OpenaiCostsOptions,
    read=_REPORT.inputs,
    check=_REPORT.check,
)
