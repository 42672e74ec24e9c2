"""Azure OpenAI's provisioned throughput: how busy deployments are by Azure Monitor, and which units they hold.

Two answers of Azure Resource Manager: the metric `AzureOpenAIProvisionedManagedUtilizationV2` of an account, by deployment
and minute, in percent of the deployed units; and the list of the account's deployments, of which those with a provisioned
SKU hold PTUs. A minute without an average was not measured. Of what is deployed Azure tells the present only, so a list is
a snapshot of the day on which it was fetched.
"""

import re
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
    number,
    present,
    whole,
)
from dagster_project.sources._reports import ResultError

METRIC = "AzureOpenAIProvisionedManagedUtilizationV2"
_SKU_TYPES = {
    "GlobalProvisionedManaged": "global",
    "DataZoneProvisionedManaged": "data_zone",
    "ProvisionedManaged": "regional",
}


def _findings(options: "AzurePtuOptions", page: Mapping[str, Any]) -> Iterator[Finding]:
    items = page.get("value")
    if not isinstance(items, list):
        code = "page_unknown"
        raise ResultError(code, f"the answer has no list 'value': {member(page, 'error', 'message')}")
    if "observed_at" in page:
        yield from _deployments(options, items, page["observed_at"])
        return
    for metric in items:
        name, series = member(metric, "name", "value"), member(metric, "timeseries")
        if name != METRIC or member(metric, "errorCode") not in {None, "Success"} or not isinstance(series, list):
            reason = f"it is no series of {METRIC}: {name}, {member(metric, 'errorCode')}"
            yield Finding(MEASUREMENTS, metric, partial(_unreadable, reason))
            continue
        for item in series:
            dimensions = {
                str(member(pair, "name", "value")).lower(): member(pair, "value")
                for pair in member(item, "metadatavalues") or []
            }
            for point in member(item, "data") or []:
                if member(point, "average") is not None:
                    yield Finding(
                        MEASUREMENTS,
                        {"metadatavalues": dimensions, "data": point},
                        partial(_measurement, dimensions, point),
                    )


def _unreadable(reason: str) -> Mapping[str, Any]:
    code = "series_unknown"
    raise ResultError(code, reason)


def _measurement(dimensions: Mapping[str, Any], point: Mapping[str, Any]) -> Mapping[str, Any]:
    name = "modeldeploymentname"
    return {
        "deployment_id": present(dimensions.get(name), name),
        "instance_id": "deployment",
        "utilization_percent": number(point["average"], "average"),
        "measured_at": instant(point.get("timeStamp"), "timeStamp"),
        "attributes_json": attributes(dimensions, (name,)),
    }


def _deployments(options: "AzurePtuOptions", items: list[Any], observed_at: object) -> Iterator[Finding]:
    at = instant(observed_at, "observed_at")
    for item in items:
        yield Finding(DEPLOYMENTS, item, partial(_deployment, options, item, at))
    if not items:
        yield Finding(DEPLOYMENTS, {}, lambda: {"is_snapshot": True, "observed_at": at, "provider_name": "azure"})


def _deployment(options: "AzurePtuOptions", item: Mapping[str, Any], observed_at: datetime) -> Mapping[str, Any]:
    sku = present(member(item, "sku", "name"), "sku.name")
    created = member(item, "systemData", "createdAt")
    is_provisioned = sku in _SKU_TYPES
    return {
        "deployment_id": present(member(item, "name"), "name"),
        "commitment_id": options.commitment_id if is_provisioned else None,
        "provider_name": "azure",
        "model_id": present(member(item, "properties", "model", "name"), "properties.model.name"),
        "deployment_type": _SKU_TYPES.get(sku) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", sku).lower(),
        "region_id": options.region_id,
        "scope_id": options.scope_id,
        # Of a deployment that is paid as it goes the capacity is its limit of tokens, and no unit that is held.
        "allocated_units": whole(member(item, "sku", "capacity"), "sku.capacity") if is_provisioned else None,
        "spillover_deployment_id": member(item, "properties", "spilloverDeploymentName"),
        "starts_at": instant(created, "systemData.createdAt") if created else None,
        "is_snapshot": True,
        "observed_at": observed_at,
        "attributes_json": attributes(
            {
                "sku": sku,
                "model_version": member(item, "properties", "model", "version"),
                "provisioning_state": member(item, "properties", "provisioningState"),
            }
        ),
    }
