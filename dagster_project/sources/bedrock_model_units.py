"""AWS Bedrock's provisioned throughput: tokens of provisioned models by CloudWatch, and which model units they hold.

Two answers: CloudWatch's `GetMetricData`, whose labels are `<model>|<metric>` as this connector asks for them, with
the tokens of each period of a provisioned model; and Bedrock's `ListProvisionedModelThroughputs`. A period without a
point had no call. A model that is deleted is listed no more, and what it did still counts: CloudWatch's `ListMetrics`
names those of the last two weeks, and the day's former answer those that were asked about before. AWS measures no
utilisation: the share of the units' throughput follows from the tokens. Tokens read from a cache are not among the
input tokens.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import Field, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._api import Api, ApiRequest, query, token_pages, words_of
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
    observed,
    present,
    unreadable,
    whole,
)
from dagster_project.sources._cloud_auth import AwsSignature
from dagster_project.sources._connector import Connector, HeaderSecret
from dagster_project.sources._reports import ResultError
from dagster_project.sources._windows import Window

_ATTRIBUTES = (
    "provisionedModelName", "modelArn", "desiredModelArn", "desiredModelUnits", "status", "commitmentDuration",
    "commitmentExpirationTime", "lastModifiedTime",
)  # fmt: skip
MEASUREMENTS = replace(MEASUREMENTS_OF_ALL_KINDS, may_be_empty=True, known_attributes=frozenset())
DEPLOYMENTS = replace(DEPLOYMENTS_OF_ALL_KINDS, known_attributes=frozenset(_ATTRIBUTES))
PROVIDER = "aws"
_PERIOD_SECONDS = 300
# CloudWatch keeps sums of five minutes for 63 days.
_RETENTION = timedelta(days=62)
_MOST_QUERIES = 500
# A provisioned model that is not there yet, or never was, holds no units.
_HOLDING_NONE = frozenset({"Creating", "Failed"})
_THROUGHPUTS = "provisioned-model-throughputs"
_TARGET = "GraniteServiceVersion20100801"
_NAMESPACE = "AWS/Bedrock"
# In the ARN of a provisioned model; other values of the dimension are models that are paid by the token.
_PROVISIONED = ":provisioned-model/"


class AwsApiOptions(CapacityApiOptions):
    """How CloudWatch and Bedrock are asked.

    Attributes:
        region: AWS region.
        access_key_id: Name of the key.
        key: The secret access key.
        session_token: Of temporary credentials.
        url: Address of CloudWatch; by default that of the region.
        bedrock_url: Address of Bedrock's control plane; by default that of the region.
    """

    region: str = Field(pattern=r"^[a-z0-9-]+$", exclude=True)
    access_key_id: str = Field(min_length=1, exclude=True)
    key: HeaderSecret = Field(exclude=True)
    session_token: HeaderSecret | None = Field(default=None, exclude=True)
    bedrock_url: str = Field(exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _addresses_are_of_the_region(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        region = given.get("region")
        return {
            "url": f"https://monitoring.{region}.amazonaws.com",
            "bedrock_url": f"https://bedrock.{region}.amazonaws.com",
            **given,
        }

    def opened(self, service: str, url: str, headers: Mapping[str, str], content_type: str | None = None) -> Api:
        """Give a client of one of the services."""
        auth = AwsSignature(
            self.access_key_id,
            self.key,
            self.session_token,
            region=self.region,
            service=service,
            content_type=content_type,
        )
        return Api(self.model_copy(update={"url": url}), headers, auth=auth)


class BedrockModelUnitsOptions(CapacityOptions):
    """Options of an account's provisioned throughput in a region.

    Attributes:
        region_id: Region, as commitments name it.
        commitment_id: Commitment that the provisioned models draw on.
        commitments: Commitment by the provisioned model's name, where they differ.
        model_arns: Provisioned models that are asked about although they are listed no more.
    """

    api: AwsApiOptions | None = None
    region_id: str | None = None
    commitment_id: str | None = None
    commitments: dict[str, str] = Field(default_factory=dict)
    model_arns: tuple[str, ...] = ()

    @property
    def commitment_ids(self) -> frozenset[str]:
        """The commitments that it names."""
        return frozenset(filter(None, (self.commitment_id, *self.commitments.values())))


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
        yield Finding(MEASUREMENTS, result, partial(unreadable, reason))
        return
    for at, value in zip(times, values, strict=True):
        yield Finding(
            MEASUREMENTS,
            {"Label": result["Label"], "Timestamp": at, "Value": value},
            partial(_measurement, model, metric, at, value),
        )


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
        yield Finding(DEPLOYMENTS, {}, lambda: {"is_snapshot": True, "observed_at": at, "provider_name": PROVIDER})


def _deployment(
    options: "BedrockModelUnitsOptions", item: Mapping[str, Any], observed_at: datetime
) -> Mapping[str, Any]:
    created = member(item, "creationTime")
    units = whole(member(item, "modelUnits"), "modelUnits")
    return {
        "deployment_id": present(member(item, "provisionedModelArn"), "provisionedModelArn"),
        "commitment_id": options.commitments.get(str(item.get("provisionedModelName")), options.commitment_id),
        "provider_name": PROVIDER,
        "model_id": present(item.get("foundationModelArn"), "foundationModelArn").rpartition("/")[2],
        "region_id": options.region_id,
        "allocated_units": units if member(item, "status") not in _HOLDING_NONE else 0,
        "starts_at": instant(created, "creationTime") if created else None,
        "is_snapshot": True,
        "observed_at": observed_at,
        "attributes_json": attributes(
            item, ("provisionedModelArn", "foundationModelArn", "modelUnits", "creationTime")
        ),
    }


def _items(api: Api, request: ApiRequest, name: str, token: str) -> Iterator[Any]:
    """Give the items of a list, page by page.

    Raises:
        TransientSourceError: a page has no such list.
    """
    for page in api.pages(request, token_pages(token, token)):
        items = member(page, name)
        if not isinstance(items, list):
            raise api.incomplete(request.path, f"has no list {name!r}", words_of(page))
        yield from items


def _summaries(bedrock: Api) -> list[Any]:
    request = ApiRequest(_THROUGHPUTS, query(maxResults=100))
    return list(_items(bedrock, request, "provisionedModelSummaries", "nextToken"))


def _measured_models(metrics: Api) -> Iterator[str]:
    """Give the ARNs of the provisioned models that CloudWatch has counts of, deleted ones among them."""
    body = {"Namespace": _NAMESPACE, "MetricName": "InputTokenCount", "Dimensions": [{"Name": "ModelId"}]}
    for metric in _items(metrics, ApiRequest("/", method="POST", body=body), "Metrics", "NextToken"):
        for dimension in member(metric, "Dimensions") or []:
            if member(dimension, "Name") == "ModelId" and _PROVISIONED in str(member(dimension, "Value")):
                yield str(member(dimension, "Value"))


def _answered_models(pages: Iterable[Any]) -> Iterator[str]:
    """Give the ARNs of the models that a former answer is of."""
    for page in pages:
        for result in member(page, "MetricDataResults") or []:
            model, _, metric = str(member(result, "Label")).rpartition("|")
            if model and metric in METRICS:
                yield model


def _listed(bedrock: Api, window: Window) -> Iterator[Mapping[str, Any]]:
    yield from observed([{"provisionedModelSummaries": _summaries(bedrock)}], window)


@dataclass(frozen=True)
class _Clients:
    """The services that are asked: the counts, which metrics there are, and what is deployed."""

    counts: Api
    metrics: Api
    bedrock: Api


def _counts(
    clients: _Clients, model_arns: tuple[str, ...], window: Window, former: Iterable[Any] = ()
) -> Iterator[Mapping[str, Any]]:
    listed = {str(arn) for item in _summaries(clients.bedrock) if (arn := member(item, "provisionedModelArn"))}
    models = {*listed, *model_arns, *_measured_models(clients.metrics), *_answered_models(former)}
    wanted = [(arn, metric) for arn in sorted(models) for metric in METRICS]
    for start in range(0, len(wanted), _MOST_QUERIES):
        body = {
            "StartTime": int(window.start_at.timestamp()),
            "EndTime": int(window.end_at.timestamp()),
            "ScanBy": "TimestampAscending",
            "MetricDataQueries": [
                {
                    "Id": f"m{number}",
                    "Label": f"{arn}|{metric}",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": _NAMESPACE,
                            "MetricName": metric,
                            "Dimensions": [{"Name": "ModelId", "Value": arn}],
                        },
                        "Period": _PERIOD_SECONDS,
                        "Stat": "Sum",
                    },
                }
                for number, (arn, metric) in enumerate(wanted[start : start + _MOST_QUERIES])
            ],
        }
        request = ApiRequest("/", method="POST", body=body)
        for page in clients.counts.pages(request, token_pages("NextToken", "NextToken")):
            _check_whole(clients.counts, page)
            yield page


def _check_whole(counts: Api, page: object) -> None:
    """Judge a page of counts by what it says of each metric.

    Raises:
        PermanentSourceError: the key may not read one.
        TransientSourceError: one could not be read, or ends before its end.
    """
    results = member(page, "MetricDataResults")
    if not isinstance(results, list):
        raise counts.incomplete("/", "has no list 'MetricDataResults'", words_of(page))
    for result in results:
        status = member(result, "StatusCode")
        # Data that go on are partial; on the last page they are cut.
        if status in {None, "Complete"} or (status == "PartialData" and member(page, "NextToken")):
            continue
        words = str(member(result, "Messages") or member(page, "Messages") or "")
        error = counts.incomplete("/", f"says {status} of {member(result, 'Label')}", words)
        if status == "Forbidden":
            raise PermanentSourceError(str(error))
        raise error


@contextmanager
def _opened(options: BedrockModelUnitsOptions, _: datetime) -> Iterator[Sequence[Question]]:
    if options.api is None:
        yield ()
        return
    cloudwatch = partial(options.api.opened, "monitoring", options.api.url, content_type="application/x-amz-json-1.0")
    with (
        cloudwatch({"X-Amz-Target": f"{_TARGET}.GetMetricData"}) as counted,
        cloudwatch({"X-Amz-Target": f"{_TARGET}.ListMetrics"}) as metrics,
        options.api.opened("bedrock", options.api.bedrock_url, {}) as bedrock,
    ):
        counts = partial(_counts, _Clients(counted, metrics, bedrock), options.model_arns)
        wording = " ".join(sorted(options.model_arns))
        yield [
            Question(counted.address("/"), counts, retention=_RETENTION, wording=wording, ask_again=counts),
            Question(bedrock.address(_THROUGHPUTS), partial(_listed, bedrock), is_present_only=True),
        ]


_SOURCE = CapacitySource(_findings, (MEASUREMENTS, DEPLOYMENTS), _opened)

connector = Connector(
    kind="bedrock_model_units",
    feed="capacity",
    entities=_SOURCE.entities,
    options=BedrockModelUnitsOptions,
    read=_SOURCE.inputs,
    check=_SOURCE.check,
)
