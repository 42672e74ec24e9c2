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
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import Field, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._api import Api, ApiAnswer, ApiRequest, bearer, single_page, words_of
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
from dagster_project.sources._cloud_auth import azure_token
from dagster_project.sources._connector import Connector, HeaderSecret
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
# Azure Monitor keeps platform metrics for 93 days.
_RETENTION = timedelta(days=92)
# Without it an answer ends after ten series.
_MOST_SERIES = 1000


class AzureApiOptions(CapacityApiOptions):
    """How Azure Resource Manager is asked.

    Attributes:
        url: Its address; another one in a sovereign cloud.
        resource_id: The account, `/subscriptions/.../Microsoft.CognitiveServices/accounts/...`.
        key: Client secret of the service principal `client_id` of `tenant_id`; without those two a token.
        tenant_id: Tenant of the service principal.
        client_id: The service principal.
        login_url: Where its tokens come from.
    """

    url: str = Field(default="https://management.azure.com", exclude=True)
    resource_id: str = Field(pattern=r"^/subscriptions/[^#?]+[^/#?]$", exclude=True)
    key: HeaderSecret = Field(exclude=True)
    tenant_id: str | None = Field(default=None, exclude=True)
    client_id: str | None = Field(default=None, exclude=True)
    login_url: str = Field(default="https://login.microsoftonline.com", exclude=True)

    @model_validator(mode="after")
    def _principal_is_whole(self) -> "AzureApiOptions":
        if (self.tenant_id is None) != (self.client_id is None):
            msg = "expected both `tenant_id` and `client_id`, or none of them when `key` is a token"
            raise ValueError(msg)
        return self


class AzurePtuOptions(CapacityOptions):
    """Options of an account's provisioned throughput.

    Attributes:
        region_id: Region of the account, as commitments name it.
        scope_id: Subscription or account, as commitments name it.
        commitment_id: Commitment that the deployments draw on; None when their type, region and scope say it.
    """

    api: AzureApiOptions | None = None
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
            pairs = member(item, "metadatavalues")
            dimensions = {
                str(member(pair, "name", "value")).lower(): member(pair, "value")
                for pair in (pairs if isinstance(pairs, list) else [])
            }
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


def _api(options: AzureApiOptions) -> Api:
    if options.tenant_id is None or options.client_id is None:
        return Api(options, {"Authorization": bearer(options.key)})
    scope = f"{options.url}/.default"
    return Api(
        options, {}, auth=azure_token(options.login_url, options.tenant_id, options.client_id, options.key, scope)
    )


def _utilization(api: Api, resource_id: str, window: Window) -> Iterator[Mapping[str, Any]]:
    asked = (
        ("api-version", "2024-02-01"),
        ("metricnames", METRIC),
        ("timespan", f"{window.start_at:%Y-%m-%dT%H:%M:%SZ}/{window.end_at:%Y-%m-%dT%H:%M:%SZ}"),
        ("interval", "PT1M"),
        ("aggregation", "Average"),
        ("$filter", "ModelDeploymentName eq '*'"),
        ("top", str(_MOST_SERIES)),
    )
    path = f"{resource_id}/providers/Microsoft.Insights/metrics"
    for page in api.pages(ApiRequest(path, asked), single_page):
        metrics = _values(api, path, page)
        for metric in metrics:
            if (code := member(metric, "errorCode")) not in {None, "Success"}:
                words = f"{code}: {member(metric, 'errorMessage')}"
                raise api.incomplete(path, "has a metric that could not be read", words)
        if any(len(member(metric, "timeseries") or []) >= _MOST_SERIES for metric in metrics):
            msg = f"Asked {api.address(path)}: {_MOST_SERIES} deployments or more, expected fewer. Report the account."
            raise PermanentSourceError(msg)
        yield {name: value for name, value in page.items() if name not in {"cost", "timespan"}}


def _values(api: Api, path: str, page: object) -> list[Any]:
    """Give the list of a page.

    Raises:
        TransientSourceError: it has none.
    """
    items = member(page, "value")
    if not isinstance(items, list):
        raise api.incomplete(path, "has no list 'value'", words_of(page))
    return items


def _next_link(_: ApiRequest, answer: ApiAnswer) -> ApiRequest | None:
    link = member(answer.content, "nextLink")
    return ApiRequest(link) if link else None


def _listed(api: Api, resource_id: str, window: Window) -> Iterator[Mapping[str, Any]]:
    request = ApiRequest(f"{resource_id}/deployments", (("api-version", "2024-10-01"),))
    # One page of them all: an empty last page is no account without deployments.
    items = [item for page in api.pages(request, _next_link) for item in _values(api, request.path, page)]
    yield from observed([{"value": items}], window)


@contextmanager
def _opened(options: AzurePtuOptions, _: datetime) -> Iterator[Sequence[Question]]:
    if options.api is None:
        yield ()
        return
    resource_id = options.api.resource_id
    with _api(options.api) as api:
        metrics, deployments = (api.address(f"{resource_id}/{name}") for name in ("metrics", "deployments"))
        yield [
            Question(metrics, partial(_utilization, api, resource_id), retention=_RETENTION),
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
