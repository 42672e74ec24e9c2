"""AWS Bedrock's provisioned throughput: tokens of provisioned models by CloudWatch, and which model units they hold.

Two answers: CloudWatch's `GetMetricData`, whose labels are `<model>|<metric>` as this connector asks for them, with the
tokens of each period of a provisioned model; and Bedrock's `ListProvisionedModelThroughputs`. A period without a point had
no call. AWS measures no utilisation: the share of the units' throughput follows from the tokens. Tokens read from a cache are
not among the input tokens.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
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

METRICS = {
    "InputTokenCount": "input_tokens",
    "CacheReadInputTokenCount": "cache_read_tokens",
    "OutputTokenCount": "output_tokens",
}


def _findings(options: "BedrockModelUnitsOptions", page: Mapping[str, Any]) -> Iterator[Finding]:
    results, summaries = page.get("MetricDataResults"), page.get("provisionedModelSummaries")
    if isinstance(summaries, list):
        yield from _deployments(options, summaries, page.get("observed_at"))
    elif isinstance(results, list):
        for result in results:
            yield from _measurements(result)
    else:
        code = "page_unknown"
        raise ResultError(code, "the answer has neither MetricDataResults nor provisionedModelSummaries")


def _measurements(result: Mapping[str, Any]) -> Iterator[Finding]:
    model, _, metric = str(member(result, "Label")).rpartition("|")
    times, values = member(result, "Timestamps"), member(result, "Values")
    status = member(result, "StatusCode")
    is_read = isinstance(times, list) and isinstance(values, list) and len(times) == len(values)
    if not model or metric not in METRICS or not is_read or status not in {None, "Complete", "PartialData"}:
        reason = f"the result {member(result, 'Label')!r} ({status}) holds no counts of a model's tokens"
        yield Finding(MEASUREMENTS, result, partial(_unreadable, reason))
        return
    for at, value in zip(times, values, strict=True):
        yield Finding(
            MEASUREMENTS,
            {"Label": result["Label"], "Timestamp": at, "Value": value},
            partial(_measurement, model, metric, at, value),
        )


def _unreadable(reason: str) -> Mapping[str, Any]:
    code = "series_unknown"
    raise ResultError(code, reason)


def _measurement(model: str, metric: str, at: object, value: object) -> Mapping[str, Any]:
    return {
        "deployment_id": model,
        "instance_id": "deployment",
        METRICS[metric]: whole(value, metric),
        "measured_at": instant(at, "Timestamp"),
    }


def _deployments(options: "BedrockModelUnitsOptions", items: list[Any], observed_at: object) -> Iterator[Finding]:
    at = instant(observed_at, "observed_at")
    for item in items:
        yield Finding(DEPLOYMENTS, item, partial(_deployment, options, item, at))
    if not items:
        yield Finding(DEPLOYMENTS, {}, lambda: {"is_snapshot": True, "observed_at": at, "provider_name": "aws"})


def _deployment(options: "BedrockModelUnitsOptions", item: Mapping[str, Any], observed_at: datetime) -> Mapping[str, Any]:
    created = item.get("creationTime")
    return {
        "deployment_id": present(item.get("provisionedModelArn"), "provisionedModelArn"),
        "commitment_id": options.commitments.get(str(item.get("provisionedModelName")), options.commitment_id),
        "provider_name": options.provider_name,
        "model_id": present(item.get("foundationModelArn"), "foundationModelArn").rpartition("/")[2],
        "region_id": options.region_id,
        "allocated_units": whole(item.get("modelUnits"), "modelUnits"),
        "starts_at": instant(created, "creationTime") if created else None,
        "is_snapshot": True,
        "observed_at": observed_at,
        "attributes_json": attributes(
            item, ("provisionedModelArn", "foundationModelArn", "modelUnits", "creationTime", "lastModifiedTime")
        ),
    }
