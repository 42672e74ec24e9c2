"""Anthropic's costs: one record per result of a day, of the cost report or of the analytics cost report.

An amount is the text of a decimal in the currency's smallest unit: "123.45" in USD is 1.2345 dollars. The cost report,
`GET /v1/organizations/cost_report`, has buckets of results, and leaves out what the Priority Tier costs; the usage
report has its tokens. The analytics cost report, `GET /v1/organizations/analytics/cost`, has a row per day and group,
with the amount after discounts and the list amount before them. Its former form, `analytics/cost_report`, has buckets.
An item of a page says by its own members which of them it is.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import model_validator

from dagster_project.sources._anthropic import AnthropicApi, bounds, opened
from dagster_project.sources._api import Api, query
from dagster_project.sources._connector import Connector
from dagster_project.sources._reports import (
    COSTS,
    Report,
    ReportEndpoint,
    ReportFormat,
    ReportOptions,
    ResultError,
    amount,
    money,
    others_json,
)
from dagster_project.sources._reports import text as text_of

_MEMBERS = (
    "amount", "list_amount", "currency", "description", "cost_type", "token_type", "model", "service_tier",
    "inference_geo", "context_window", "workspace_id", "api_key_id",
)  # fmt: skip
_ANALYTICS_BETA = "analytics-usage-cost-2026-08-24"
_REPORT_DIMENSIONS = ("workspace_id", "description")
# A row per person or session is not asked for.
_ANALYTICS_DIMENSIONS = (
    "model", "product", "workspace_id", "service_tier", "inference_geo", "cost_type", "token_type",
)  # fmt: skip
_COUNTED_DIMENSIONS = 5
_LIMIT_ROWS = 1000
# What the analytics report says and no column holds.
_ATTRIBUTES = (
    "actor_type", "agent_id", "claude_tag_category", "deployment_id", "environment_id", "organization_id", "product",
    "rbac_group_id", "requests", "slack_channel_id", "speed", "user_profile_id",
)  # fmt: skip
ENTITY = replace(COSTS, known_attributes=frozenset(_ATTRIBUTES))
# Decimals between a currency and its smallest unit.
_SHIFTS = {"USD": 2}


class AnthropicCostsApi(AnthropicApi):
    """How the costs are asked for.

    Attributes:
        report: The cost report of a Claude Console organisation, or the analytics cost report, which Claude Enterprise
            organisations have too.
    """

    report: Literal["cost_report", "analytics"] = "cost_report"
    # A person is in several groups, whose amounts overlap: `rbac_group_id` is none of them.
    group_by: tuple[
        Literal[
            "description", "workspace_id", "model", "product", "service_tier", "inference_geo", "context_window",
            "speed", "api_key_id", "cost_type", "token_type", "agent_id", "claude_tag_category", "deployment_id",
            "environment_id", "organization_id", "slack_channel_id",
        ],
        ...,
    ] = ()  # fmt: skip

    @model_validator(mode="after")
    def _fits_the_report(self) -> Self:
        if self.report == "cost_report":
            is_right = set(self.group_by) <= set(_REPORT_DIMENSIONS)
        else:
            counted = set(self.group_by) - {"cost_type", "token_type"}
            is_right = "description" not in counted and len(counted) <= _COUNTED_DIMENSIONS
        if not is_right:
            msg = (
                f"expected group_by of {' and '.join(_REPORT_DIMENSIONS)} for the cost report, of at most "
                f"{_COUNTED_DIMENSIONS} dimensions besides cost_type and token_type, and not of description, for the "
                "analytics cost report"
            )
            raise ValueError(msg)
        return self

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What is asked for: `group_by`, or all that the report usually is grouped by."""
        return self.group_by or (_REPORT_DIMENSIONS if self.report == "cost_report" else _ANALYTICS_DIMENSIONS)


class AnthropicCostsOptions(ReportOptions):
    """Options of a source of Anthropic's costs."""

    api: AnthropicCostsApi | None = None

    @property
    def sole_subject(self) -> str | None:
        """The costs of the account: both reports have them."""
        return f"the costs of account {self.billing_account_id}" if self.api else None


def _bucket(item: object) -> object:
    """Give the bucket that an item is: a row of the analytics report is a bucket with one result."""
    if not isinstance(item, dict) or not isinstance(item.get("cost"), dict):
        return item
    group = item.get("group")
    return {**item, "results": [{**(group if isinstance(group, dict) else {}), **item["cost"]}]}


def _columns(result: Mapping[str, Any]) -> dict[str, Any]:
    currency = str(result.get("currency") or "").upper()
    if currency not in _SHIFTS:
        code = "value_unknown"
        raise ResultError(code, f"currency {result.get('currency')!r}: amounts are documented in cents of USD only")
    return {
        **money(result.get("amount"), currency, shift=_SHIFTS[currency]),
        "list_amount": amount(result.get("list_amount"), "list_amount", shift=_SHIFTS[currency]),
        "line_name": text_of(result.get("description")),
        "cost_type": text_of(result.get("cost_type")),
        "token_type": text_of(result.get("token_type")),
        "model_name": text_of(result.get("model")),
        "service_tier": text_of(result.get("service_tier")),
        "region_id": text_of(result.get("inference_geo")),
        "context_window": text_of(result.get("context_window")),
        "project_id": text_of(result.get("workspace_id")),
        "api_key_id": text_of(result.get("api_key_id")),
        "attributes_json": others_json(result, _MEMBERS),
    }


def _opened(api: AnthropicCostsApi) -> Api:
    return opened(api, *([_ANALYTICS_BETA] if api.report == "analytics" else []))


def _endpoints(api: AnthropicCostsApi) -> list[ReportEndpoint]:
    if api.report == "analytics":
        path = "v1/organizations/analytics/cost"
        asked: dict[str, str | int] = {"time_bucket_width": "1d", "order_by": "time", "limit": _LIMIT_ROWS}
    else:
        path = "v1/organizations/cost_report"
        asked = {"bucket_width": "1d", "limit": 1}
    return [
        ReportEndpoint(path, lambda window: query(**bounds(window), **asked, **{"group_by[]": api.dimensions})),
    ]


FORMAT = ReportFormat(
    ENTITY, "starting_at", "ending_at", frozenset({"amount", "list_amount", "requests"}), _columns, _bucket
)
_REPORT = Report(FORMAT, _opened, _endpoints)

connector = Connector(
    kind="anthropic_costs",
    feed="invoices",
    entities=(ENTITY,),
    options=AnthropicCostsOptions,
    read=_REPORT.inputs,
    check=_REPORT.check,
)
