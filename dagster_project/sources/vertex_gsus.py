"""Vertex AI's provisioned throughput by Cloud Monitoring: tokens that used it, and the GSUs in force.

The answer is the API's list of time series. `consumed_token_throughput` counts tokens after the burndown rates and
after the reconciliation of what was estimated, so it is work already weighted; only its `dedicated` part used what is
bought. `dedicated_gsu_limit` says how many GSUs are in force. A period without a point had no call.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import Field, SecretStr, field_validator

from dagster_project.sources._api import Api, ApiRequest, bearer, token_pages, words_of
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
    present,
    unreadable,
    whole,
)
from dagster_project.sources._cloud_auth import google_token
from dagster_project.sources._connector import Connector, Secret, fitting_a_header
from dagster_project.sources._reports import ResultError
from dagster_project.sources._windows import Window

MEASUREMENTS = replace(MEASUREMENTS_OF_ALL_KINDS, may_be_empty=True, known_attributes=frozenset({"type"}))
DEPLOYMENTS = replace(DEPLOYMENTS_OF_ALL_KINDS, known_attributes=frozenset())
PROVIDER = "google"
# Cloud Monitoring keeps Google's own metrics for six weeks.
_RETENTION = timedelta(days=41)
_PAGE_SIZE = 10_000
_PAGE_MEMBERS = frozenset({"timeSeries", "nextPageToken", "unit", "executionErrors", "unreachable"})


class GoogleApiOptions(CapacityApiOptions):
    """How Cloud Monitoring is asked.

    Attributes:
        url: Its address.
        project: The project whose metrics are asked for.
        key: The JSON of a service account's key file, or a token.
    """

    url: str = Field(default="https://monitoring.googleapis.com", exclude=True)
    project: str = Field(pattern=r"^[A-Za-z0-9:._-]+$", exclude=True)
    key: Secret = Field(exclude=True)

    @field_validator("key")
    @classmethod
    def _token_fits_a_header(cls, key: SecretStr) -> SecretStr:
        return key if _is_key_file(key) else fitting_a_header(key)


def _is_key_file(key: SecretStr) -> bool:
    """Say whether a key is the JSON of a key file, which no header gets; else it is a token."""
    return key.get_secret_value().startswith("{")


class VertexGsusOptions(CapacityOptions):
    """Options of a project's provisioned throughput.

    Attributes:
        commitment_id: Commitment that the models draw on.
        deployments: Deployment, as calls name it, by `<location>/<model>`.
    """

    api: GoogleApiOptions | None = None
    commitment_id: str | None = None
    deployments: dict[str, str] = Field(default_factory=dict)

    @property
    def commitment_ids(self) -> frozenset[str]:
        """The commitments that it names."""
        return frozenset(filter(None, (self.commitment_id,)))


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
            yield Finding(MEASUREMENTS, item, partial(unreadable, reason))
            continue
        head = {"metric": item["metric"], "resource": item.get("resource")}
        columns, entity = (_measurement, MEASUREMENTS) if metric == CONSUMED else (_deployment, DEPLOYMENTS)
        for point in points:
            yield Finding(entity, {**head, "points": [point]}, partial(columns, options, head, point))


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
    value = member(point, "value")
    kinds = ("int64Value", "doubleValue")
    return whole(next((member(value, kind) for kind in kinds if member(value, kind) is not None), None), name)


def _measurement(options: "VertexGsusOptions", head: Mapping[str, Any], point: Mapping[str, Any]) -> Mapping[str, Any]:
    request_type = member(head, "metric", "labels", "request_type")
    if request_type != "dedicated":
        code = "not_capacity"
        raise ResultError(code, f"request_type is {request_type!r}: only what was 'dedicated' used bought throughput")
    return {
        "deployment_id": _deployment_id(options, head),
        # A model has a series per combination of labels, and all of them add up.
        "instance_id": "/".join(str(value) for _, value in sorted(member(head, "metric", "labels").items())),
        "work_tokens": _number(point, "consumed_token_throughput"),
        "measured_at": instant(member(point, "interval", "startTime"), "interval.startTime"),
        "attributes_json": attributes(member(head, "metric", "labels"), ("request_type",)),
    }


def _deployment(options: "VertexGsusOptions", head: Mapping[str, Any], point: Mapping[str, Any]) -> Mapping[str, Any]:
    project, location, model = _place(head)
    return {
        "deployment_id": _deployment_id(options, head),
        "commitment_id": options.commitment_id,
        "provider_name": PROVIDER,
        "model_id": model,
        "publisher_name": member(head, "resource", "labels", "publisher"),
        "region_id": location,
        "scope_id": project,
        "allocated_units": _number(point, "dedicated_gsu_limit"),
        "is_snapshot": True,
        "observed_at": instant(member(point, "interval", "endTime"), "interval.endTime"),
    }


def _asked(api: Api, project: str, window: Window) -> Iterator[Mapping[str, Any]]:
    dedicated = f'metric.type = "{CONSUMED}" AND metric.labels.request_type = "dedicated"'
    questions = [(dedicated, "ALIGN_SUM", "300s"), (f'metric.type = "{GSU_LIMIT}"', "ALIGN_MAX", "3600s")]
    for wanted, aligner, period in questions:
        params = (
            ("filter", wanted),
            ("interval.startTime", window.start_at.isoformat()),
            ("interval.endTime", window.end_at.isoformat()),
            ("aggregation.perSeriesAligner", aligner),
            ("aggregation.alignmentPeriod", period),
            ("pageSize", str(_PAGE_SIZE)),
        )
        request = ApiRequest(f"v3/projects/{project}/timeSeries", params)
        for page in api.pages(request, token_pages("nextPageToken", "pageToken")):
            _check_whole(api, request.path, page)
            yield page


def _check_whole(api: Api, path: str, page: object) -> None:
    """Raise TransientSourceError when a page is no list of time series, or says that some of them are absent."""
    # Without a time series it has no member of that name, and perhaps none at all.
    is_list = isinstance(page, dict) and (not page or not _PAGE_MEMBERS.isdisjoint(page))
    if not is_list or not isinstance(member(page, "timeSeries") or [], list) or member(page, "error"):
        raise api.incomplete(path, "is no list of time series", words_of(page))
    for name in ("executionErrors", "unreachable"):
        if said := member(page, name):
            raise api.incomplete(path, f"is not whole by its {name}", str(said))


def _api(options: GoogleApiOptions) -> Api:
    if _is_key_file(options.key):
        return Api(options, {}, auth=google_token(options.key))
    return Api(options, {"Authorization": bearer(options.key)})


@contextmanager
def _opened(options: VertexGsusOptions, _: datetime) -> Iterator[Sequence[Question]]:
    if options.api is None:
        yield ()
        return
    project = options.api.project
    with _api(options.api) as api:
        address = api.address(f"v3/projects/{project}/timeSeries")
        yield [Question(address, partial(_asked, api, project), retention=_RETENTION)]


_SOURCE = CapacitySource(_findings, (MEASUREMENTS, DEPLOYMENTS), _opened)

connector = Connector(
    kind="vertex_gsus",
    feed="capacity",
    entities=_SOURCE.entities,
    options=VertexGsusOptions,
    read=_SOURCE.inputs,
    check=_SOURCE.check,
)
