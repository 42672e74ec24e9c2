"""GPU utilisation from Prometheus: range queries of DCGM's metrics, one measurement per series and step.

The answer is the API's `query_range` matrix: labels and [seconds, "text of a number"] pairs. `DCGM_FI_DEV_GPU_UTIL`
counts in percent, `DCGM_FI_PROF_GR_ENGINE_ACTIVE` is a share; the configuration says which. Which label names the GPU,
and which one the deployment that it serves, is the configuration's too.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from dagster_project.sources._api import Api, ApiRequest, bearer, query, single_page, words_of
from dagster_project.sources._capacity import (
    MEASUREMENTS,
    CapacityApiOptions,
    CapacityOptions,
    CapacitySource,
    Finding,
    Question,
    attributes,
    instant,
    member,
    number,
    present,
    unreadable,
)
from dagster_project.sources._connector import (
    Connector,
    EnvironmentSecret,
    Secret,
    fitting_a_header,
    secret_origin,
)
from dagster_project.sources._reports import ResultError
from dagster_project.sources._windows import Window

_PATH = "api/v1/query_range"
_SLICE = timedelta(hours=1)


class PrometheusApiOptions(CapacityApiOptions):
    """How a Prometheus server, or what speaks its API, is asked.

    Attributes:
        key: A bearer token, or the password of `user`; None when none is asked for.
        user: Name for basic authentication.
        tenant: What `X-Scope-OrgID` says to a server of several tenants.
        retention_days: After how many days the server deletes samples; days that may be cut are left as they landed.
    """

    requests_per_minute: int = Field(default=600, gt=0, exclude=True)
    key: Secret | None = Field(default=None, exclude=True)
    user: str | None = Field(default=None, exclude=True)
    tenant: str | None = Field(default=None, exclude=True)
    retention_days: int | None = Field(default=None, ge=1, exclude=True)

    @model_validator(mode="after")
    def _user_has_a_password(self) -> "PrometheusApiOptions":
        if self.user is not None and self.key is None:
            msg = "`user` is given without `key`, its password"
            raise ValueError(msg)
        # A password goes into its header encoded.
        if self.user is None and self.key is not None:
            fitting_a_header(self.key)
        return self


class PrometheusGpusOptions(CapacityOptions):
    """Options of GPU utilisation.

    Attributes:
        query: What is asked for: a metric, or an expression that gives a series per GPU.
        unit: Whether it counts in percent or is a share.
        step_seconds: Between two measurements; a divisor of an hour.
        instance_labels: The labels that name a GPU.
        deployment_label: The label that names the deployment; None when all GPUs are of one.
        deployment_id: That one deployment.
        deployments: Deployment by the label's value, where their names differ.
    """

    api: PrometheusApiOptions | None = None
    query: str = Field(default="DCGM_FI_DEV_GPU_UTIL", min_length=1)
    unit: Literal["percent", "share"] = "percent"
    step_seconds: int = Field(default=60, ge=1, le=3600)
    instance_labels: tuple[str, ...] = Field(default=("UUID",), min_length=1)
    deployment_label: str | None = None
    deployment_id: str | None = None
    deployments: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_one_deployment(self) -> "PrometheusGpusOptions":
        if (self.deployment_label is None) == (self.deployment_id is None):
            msg = "expected either `deployment_label` or `deployment_id`, and not both"
            raise ValueError(msg)
        if 3600 % self.step_seconds:
            msg = "expected `step_seconds` to divide an hour without a rest, 60 for instance"
            raise ValueError(msg)
        return self


def _findings(options: "PrometheusGpusOptions", page: Mapping[str, Any]) -> Iterator[Finding]:
    series = member(page, "data", "result")
    if (
        page.get("status") != "success"
        or member(page, "data", "resultType") != "matrix"
        or not isinstance(series, list)
    ):
        code = "page_unknown"
        raise ResultError(code, f"the answer is no matrix of a range query: {page.get('error', page.get('status'))}")
    for item in series:
        labels, values = member(item, "metric"), member(item, "values")
        if not isinstance(labels, Mapping) or not isinstance(values, list):
            yield Finding(MEASUREMENTS, item, partial(unreadable, "the series has no labels 'metric' and 'values'"))
            continue
        for value in values:
            yield Finding(MEASUREMENTS, {"metric": labels, "value": value}, partial(_columns, options, labels, value))


def _columns(options: "PrometheusGpusOptions", labels: Mapping[str, Any], value: object) -> Mapping[str, Any]:
    match value:
        case [at, reading]:
            pass
        case _:
            return unreadable("the value is no pair of an instant and a number")
    label = options.deployment_label
    deployment_id = options.deployment_id if label is None else present(labels.get(label), f"label {label}")
    return {
        "deployment_id": options.deployments.get(str(deployment_id), deployment_id),
        "instance_id": "/".join(present(labels.get(name), f"label {name}") for name in options.instance_labels),
        f"utilization_{options.unit}": number(reading, "the value"),
        "measured_at": instant(at, "the value's time"),
        "attributes_json": attributes(labels, (label or "", *options.instance_labels)),
    }


def _authorization(api: PrometheusApiOptions) -> dict[str, str | SecretStr]:
    headers: dict[str, str | SecretStr] = {"X-Scope-OrgID": api.tenant} if api.tenant else {}
    if api.key is None:
        return headers
    if api.user is None:
        return {**headers, "Authorization": bearer(api.key)}
    pair = b64encode(f"{api.user}:{api.key.get_secret_value()}".encode()).decode()
    return {**headers, "Authorization": EnvironmentSecret.of(f"Basic {pair}", secret_origin(api.key))}


def _ask(api: Api, options: PrometheusGpusOptions, now: datetime, window: Window) -> Iterator[Mapping[str, Any]]:
    """Ask hour by hour: an answer is held in memory, and may have 11,000 points a series."""
    step = timedelta(seconds=options.step_seconds)
    start_at = window.start_at
    while start_at < min(window.end_at, now):
        # Both ends are part of a range, and beyond the present a server repeats its last value.
        end_at = min(start_at + _SLICE - step, now)
        asked = query(
            query=options.query,
            start=str(int(start_at.timestamp())),
            end=str(int(end_at.timestamp())),
            step=options.step_seconds,
        )
        for page in api.pages(ApiRequest(_PATH, asked), single_page):
            if warnings := member(page, "warnings"):
                raise api.incomplete(_PATH, "warns that it may lack something", str(warnings))
            if member(page, "status") != "success" or member(page, "data", "resultType") != "matrix":
                raise api.incomplete(_PATH, "is no matrix of a range query", words_of(page))
            yield page
        start_at += _SLICE


@contextmanager
def _opened(options: PrometheusGpusOptions, now: datetime) -> Iterator[Sequence[Question]]:
    if options.api is None:
        yield ()
        return
    with Api(options.api, _authorization(options.api)) as api:
        wording = f"{options.query} {options.step_seconds}"
        retention = timedelta(days=options.api.retention_days) if options.api.retention_days else None
        yield [
            Question(api.address(_PATH), partial(_ask, api, options, now), retention=retention, wording=wording),
        ]


_SOURCE = CapacitySource(_findings, (MEASUREMENTS,), _opened)

connector = Connector(
    kind="prometheus_gpus",
    feed="capacity",
    entities=_SOURCE.entities,
    options=PrometheusGpusOptions,
    read=_SOURCE.inputs,
    check=_SOURCE.check,
)
