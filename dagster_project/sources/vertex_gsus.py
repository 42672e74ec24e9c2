"""Vertex AI's provisioned throughput by Cloud Monitoring: tokens that used it, and the GSUs in force.

The answer is the API's list of time series. `consumed_token_throughput` counts tokens after the burndown rates and after the
reconciliation of what was estimated, so it is work already weighted; only its `dedicated` part used what is bought.
`dedicated_gsu_limit` says how many GSUs are in force. A period without a point had no call.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from dagster_project.sources._capacity import (
    DEPLOYMENTS,
    MEASUREMENTS,
    Finding,
    attributes,
    instant,
    member,
    present,
    whole,
)
from dagster_project.sources._reports import ResultError

_PREFIX = "aiplatform.googleapis.com/publisher/online_serving/"
CONSUMED = f"{_PREFIX}consumed_token_throughput"
GSU_LIMIT = f"{_PREFIX}dedicated_gsu_limit"


def _findings(options: "VertexGsusOptions", page: Mapping[str, Any]) -> Iterator[Finding]:
    series = page.get("timeSeries", [])
    if not isinstance(series, list) or "error" in page:
        code = "page_unknown"
        raise ResultError(code, f"the answer is no list of time series: {member(page, 'error', 'message')}")
    for item in series:
        metric, points = member(item, "metric", "type"), member(item, "points")
        if metric not in {CONSUMED, GSU_LIMIT} or not isinstance(points, list):
            reason = f"{metric} is neither consumed_token_throughput nor dedicated_gsu_limit"
            yield Finding(MEASUREMENTS, item, partial(_unreadable, reason))
            continue
        head = {"metric": item["metric"], "resource": item.get("resource")}
        columns, entity = (_measurement, MEASUREMENTS) if metric == CONSUMED else (_deployment, DEPLOYMENTS)
        for point in points:
            yield Finding(entity, {**head, "points": [point]}, partial(columns, options, head, point))


def _unreadable(reason: str) -> Mapping[str, Any]:
    code = "series_unknown"
    raise ResultError(code, reason)


def _place(head: Mapping[str, Any]) -> tuple[str, str, str]:
    """Give project, location and model of a series."""
    labels = member(head, "resource", "labels")
    names = ("resource_container", "location", "model_user_id")
    project, location, model = (present(member(labels, name), f"resource label {name}") for name in names)
    return project, location, model


def _deployment_id(options: "VertexGsusOptions", head: Mapping[str, Any]) -> str:
    _, location, model = _place(head)
    return options.deployments.get(f"{location}/{model}", f"{location}/{model}")


def _number(point: Mapping[str, Any], name: str) -> int:
    value = point.get("value")
    kinds = ("int64Value", "doubleValue")
    return whole(next((member(value, kind) for kind in kinds if member(value, kind) is not None), None), name)


def _measurement(
    options: "VertexGsusOptions", head: Mapping[str, Any], point: Mapping[str, Any]
) -> Mapping[str, Any]:
    request_type = member(head, "metric", "labels", "request_type")
    if request_type != "dedicated":
        code = "not_capacity"
        raise ResultError(code, f"request_type is {request_type!r}: only what was 'dedicated' used bought throughput")
    return {
        "deployment_id": _deployment_id(options, head),
        "instance_id": "deployment",
        "work_tokens": _number(point, "consumed_token_throughput"),
        "measured_at": instant(member(point, "interval", "startTime"), "interval.startTime"),
        "attributes_json": attributes(member(head, "metric", "labels"), ("request_type",)),
    }


def _deployment(options: "VertexGsusOptions", head: Mapping[str, Any], point: Mapping[str, Any]) -> Mapping[str, Any]:
    project, location, model = _place(head)
    return {
        "deployment_id": _deployment_id(options, head),
        "commitment_id": options.commitment_id,
        "provider_name": options.provider_name,
        "model_id": model,
        "publisher_name": member(head, "resource", "labels", "publisher"),
        "region_id": location,
        "scope_id": project,
        "allocated_units": _number(point, "dedicated_gsu_limit"),
        "is_snapshot": True,
        "observed_at": instant(member(point, "interval", "endTime"), "interval.endTime"),
    }
