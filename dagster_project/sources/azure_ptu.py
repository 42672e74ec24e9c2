"""Azure OpenAI's provisioned throughput: how busy deployments are by Azure Monitor, and which units they hold.

Two answers of Azure Resource Manager: the metric `AzureOpenAIProvisionedManagedUtilizationV2` of an account, by
deployment and minute, in percent of the deployed units; and the list of the account's deployments, of which those with
a provisioned SKU hold PTUs. A minute without an average was not measured. Of what is deployed Azure tells the present
only, so a list is a snapshot of the day on which it was fetched.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from dagster_project.sources._api import Api, ApiAnswer, ApiRequest
from dagster_project.sources._azure import (
    METRICS_RETENTION,
    AzureApi,
    dimensions_of,
    metric_pages,
    metrics_path,
    metrics_query,
    opened,
    values_of,
)
from dagster_project.sources._capacity import DEPLOYMENTS as DEPLOYMENTS_OF_ALL_KINDS
from dagster_project.sources._capacity import MEASUREMENTS as MEASUREMENTS_OF_ALL_KINDS
from dagster_project.sources._capacity import (
    CapacityApiOptions,
    CapacityOptions,
    CapacitySource,
    Finding,
    Question,
    attributes,
    instant,
    member,
    number,
    observed,
    present,
    unreadable,
    whole,
)
from dagster_project.sources._connector import Connector
from dagster_project.sources._reports import ResultError
from dagster_project.sources._windows import Window

_ATTRIBUTES = (
    "sku", "model_version", "capacitySettings", "currentCapacity", "deploymentState", "dynamicThrottlingEnabled",
    "parentDeploymentName", "provisioningState", "raiPolicyName", "routing", "serviceTier", "versionUpgradeOption",
)  # fmt: skip
# What says nothing of capacity: limits, which other documents list, and the like.
_LEFT_OUT = ("model", "spilloverDeploymentName", "callRateLimit", "capabilities", "rateLimits", "scaleSettings")
MEASUREMENTS = replace(MEASUREMENTS_OF_ALL_KINDS, may_be_empty=True, known_attributes=frozenset())
DEPLOYMENTS = replace(DEPLOYMENTS_OF_ALL_KINDS, known_attributes=frozenset(_ATTRIBUTES))


class AzurePtuApi(AzureApi, CapacityApiOptions):
    """How an account's metrics and deployments are asked for, day by day."""


class AzurePtuOptions(CapacityOptions):
    """Options of an account's provisioned throughput.

    Attributes:
        region_id: Region of the account, as commitments name it.
        scope_id: Subscription or account, as commitments name it.
        commitment_id: Commitment that the deployments draw on; None when their type, region and scope say it.
    """

    api: AzurePtuApi | None = None
    region_id: str | None = None
    scope_id: str | None = None
    commitment_id: str | None = None

    @property
    def commitment_ids(self) -> frozenset[str]:
        """The commitments that it names."""
        return frozenset(filter(None, (self.commitment_id,)))


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
    if "observed_at" in page or any(member(item, "sku") for item in items):
        yield from _deployments(options, items, page.get("observed_at"))
        return
    for metric in items:
        name, series = member(metric, "name", "value"), member(metric, "timeseries")
        if name != METRIC or member(metric, "errorCode") not in {None, "Success"} or not isinstance(series, list):
            reason = f"it is no series of {METRIC}: {name}, {member(metric, 'errorCode')}"
            yield Finding(MEASUREMENTS, metric, partial(unreadable, reason))
            continue
        for item in series:
            points = member(item, "data")
            if not isinstance(points, list):
                yield Finding(MEASUREMENTS, item, partial(unreadable, "the series has no list 'data'"))
                continue
            dimensions = dimensions_of(item)
            for point in points:
                if member(point, "average") is not None:
                    yield Finding(
                        MEASUREMENTS,
                        {"metadatavalues": dimensions, "data": point},
                        partial(_measurement, dimensions, point),
                    )


def _measurement(dimensions: Mapping[str, Any], point: Mapping[str, Any]) -> Mapping[str, Any]:
    name = "modeldeploymentname"
    return {
        "deployment_id": present(dimensions.get(name), name),
        "instance_id": "deployment",
        "utilization_percent": number(point["average"], "average"),
        "measured_at": instant(member(point, "timeStamp"), "timeStamp"),
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
                **member(item, "properties"),
            },
            _LEFT_OUT,
        ),
    }


def _utilization(api: Api, resource_id: str, window: Window) -> Iterator[Mapping[str, Any]]:
    asked = metrics_query(window, [METRIC], interval="PT1M", aggregation="Average", dimensions=["ModelDeploymentName"])
    yield from metric_pages(api, ApiRequest(metrics_path(resource_id), asked))


def _next_link(_: ApiRequest, answer: ApiAnswer) -> ApiRequest | None:
    link = member(answer.content, "nextLink")
    return ApiRequest(link) if link else None


def _listed(api: Api, resource_id: str, window: Window) -> Iterator[Mapping[str, Any]]:
    request = ApiRequest(f"{resource_id}/deployments", (("api-version", "2024-10-01"),))
    # One page of them all: an empty last page is no account without deployments.
    items = [item for page in api.pages(request, _next_link) for item in values_of(api, request.path, page)]
    yield from observed([{"value": items}], window)


@contextmanager
def _opened(options: AzurePtuOptions, _: datetime) -> Iterator[Sequence[Question]]:
    if options.api is None:
        yield ()
        return
    resource_id = options.api.resource_id
    with opened(options.api) as api:
        metrics, deployments = (api.address(f"{resource_id}/{name}") for name in ("metrics", "deployments"))
        yield [
            Question(metrics, partial(_utilization, api, resource_id), retention=METRICS_RETENTION),
            Question(deployments, partial(_listed, api, resource_id), is_present_only=True),
        ]


_SOURCE = CapacitySource(_findings, (MEASUREMENTS, DEPLOYMENTS), _opened)

connector = Connector(
    kind="azure_ptu",
    feed="capacity",
    entities=_SOURCE.entities,
    options=AzurePtuOptions,
    read=_SOURCE.inputs,
    check=_SOURCE.check,
)
