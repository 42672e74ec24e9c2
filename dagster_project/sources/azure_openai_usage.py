"""What Azure says that the deployments of an Azure OpenAI account used: Azure Monitor's metrics of it, by the hour.

A metric's answer has a series per deployment and model, with a total per interval. A record is one interval of one such
series, with what each metric counts of it; an interval in which nothing was counted is none. `ProcessedPromptTokens`
includes cached tokens, which are not counted apart; `AzureOpenAIRequests` includes refused ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from dagster_project.sources._azure import (
    METRICS_RETENTION,
    AzureApi,
    dimensions_of,
    metric_pages,
    metrics_path,
    metrics_query,
    opened,
)
from dagster_project.sources._connector import Connector, Entity
from dagster_project.sources._json import member
from dagster_project.sources._reports import (
    BUCKET_COLUMNS,
    Report,
    ReportApi,
    ReportEndpoint,
    ReportFormat,
    ReportOptions,
    ResultError,
    Unreadable,
    count,
    others_json,
)
from dagster_project.sources._reports import text as text_of

_METRICS = {
    "ProcessedPromptTokens": "input_tokens",
    "GeneratedTokens": "output_tokens",
    "AzureOpenAIRequests": "request_count",
}
_INTERVALS = {
    "PT1M": timedelta(minutes=1),
    "PT5M": timedelta(minutes=5),
    "PT15M": timedelta(minutes=15),
    "PT30M": timedelta(minutes=30),
    "PT1H": timedelta(hours=1),
    "PT6H": timedelta(hours=6),
    "PT12H": timedelta(hours=12),
    "P1D": timedelta(days=1),
}
# Other dimensions of the metrics, by which a file may be split.
_ATTRIBUTES = (
    "apiname", "featurename", "isspillover", "modelversion", "operationname", "servicetierrequest", "statuscode",
    "streamtype", "usagechannel",
)  # fmt: skip
_MEMBERS = ("modeldeploymentname", "modelname", "region", "servicetierresponse", "timestamp", "is_batch", *_METRICS)

BUCKETS = Entity(
    name="buckets",
    schema=pa.schema(
        [
            *BUCKET_COLUMNS,
            ("deployment_name", pa.string()),
            ("model_name", pa.string()),
            ("service_tier", pa.string()),
            ("is_batch", pa.bool_()),
            ("region_id", pa.string()),
            *((name, pa.int64()) for name in _METRICS.values()),
            ("attributes_json", pa.string()),
        ]
    ),
    day_column="bucket_start_at",
    token_columns=("input_tokens", "output_tokens"),
    known_attributes=frozenset(_ATTRIBUTES),
)


class AzureOpenaiUsageApi(AzureApi, ReportApi):
    """How an account's metrics are asked for, by the hour.

    Attributes:
        group_by: Dimensions besides the deployment; an account whose metrics do not know one refuses to answer.
    """

    group_by: tuple[Literal["ModelName", "ModelVersion", "Region", "ServiceTierResponse"], ...] = ("ModelName",)


class AzureOpenaiUsageOptions(ReportOptions):
    """Options of a source of an Azure OpenAI account's use.

    Attributes:
        api: How it is asked.
        models: Model of a deployment, where the metrics do not say it.
        batch_deployments: Deployments of a batch type, which no metric tells from others.
    """

    api: AzureOpenaiUsageApi | None = None
    models: Mapping[str, str] = Field(default={})
    batch_deployments: tuple[str, ...] = ()


def _pages(options: AzureOpenaiUsageOptions, pages: Iterable[Any]) -> Iterator[Any]:
    """Put metrics side by side: of an interval and its dimensions one result, of what stands twice the last one."""
    results: dict[tuple[str, ...], tuple[object, timedelta, dict[str, Any]]] = {}
    repeated = set()
    for page in pages:
        for found in _points(page):
            if not isinstance(found, _Point):
                yield found
                continue
            key = (str(found.start), str(found.interval), *map(str, sorted(found.dimensions.items())))
            _, _, result = results.setdefault(key, (found.start, found.interval, _named(options, found.dimensions)))
            if found.metric in result:
                repeated.add(key)
                former = {**_named(options, found.dimensions), found.metric: result[found.metric]}
                yield _page(found.start, found.interval, former)
            result[found.metric] = found.total
    for key, (start, interval, result) in results.items():
        if key in repeated or not all(_is_nothing(result.get(metric)) for metric in _METRICS):
            yield _page(start, interval, result)


@dataclass(frozen=True)
class _Point:
    """What a metric counts in one interval of one series."""

    metric: str
    dimensions: Mapping[str, Any]
    start: object
    interval: timedelta
    total: object


def _points(page: object) -> Iterator[Any]:
    """Give the points of a page, and what of it holds none; a line that is no JSON as it is."""
    if isinstance(page, str):
        yield page
        return
    metrics, interval = member(page, "value"), _INTERVALS.get(str(member(page, "interval")))
    if not isinstance(metrics, list) or interval is None:
        said = member(page, "error.message") or member(page, "message")
        expected = "a list 'value' of metrics and an 'interval' of a day or less such as PT1H"
        yield Unreadable(ResultError("page_unknown", f"the answer has not {expected}: {said}"), page)
        return
    for metric in metrics:
        name, series = member(metric, "name.value"), member(metric, "timeseries")
        status = member(metric, "errorCode")
        if str(name) not in _METRICS or status not in (None, "Success") or not isinstance(series, list):
            reason = f"it is no series of {', '.join(_METRICS)}: {name}, {status}"
            yield Unreadable(ResultError("series_unknown", reason), metric)
            continue
        for item in series:
            points = member(item, "data")
            if not isinstance(points, list):
                yield Unreadable(ResultError("series_unknown", "the series has no list 'data'"), item)
                continue
            dimensions = dimensions_of(item)
            for point in points:
                total = member(point, "total")
                if total is not None:
                    yield _Point(name, dimensions, member(point, "timeStamp"), interval, total)


def _named(options: AzureOpenaiUsageOptions, dimensions: Mapping[str, Any]) -> dict[str, Any]:
    deployment = dimensions.get("modeldeploymentname")
    return {
        **dimensions,
        "modelname": dimensions.get("modelname") or options.models.get(str(deployment)),
        "is_batch": True if deployment in options.batch_deployments else None,
    }


def _page(start: object, interval: timedelta, result: Mapping[str, Any]) -> dict[str, Any]:
    try:
        end = (datetime.fromisoformat(str(start)) + interval).isoformat()
    except (ValueError, OverflowError):
        end = None
    return {"data": [{"start": start, "end": end, "results": [{"timestamp": start, **result}]}]}


def _is_nothing(value: object) -> bool:
    return value is None or (isinstance(value, int | Decimal) and not isinstance(value, bool) and value == 0)


def _columns(result: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("modeldeploymentname", "modelname"):
        if text_of(result.get(name)) is None:
            code = "value_missing"
            raise ResultError(code, f"dimension {name} is empty, expected what the series is of")
    return {
        "deployment_name": text_of(result["modeldeploymentname"]),
        "model_name": text_of(result["modelname"]),
        "service_tier": text_of(result.get("servicetierresponse")),
        "is_batch": result["is_batch"],
        "region_id": text_of(result.get("region")),
        **{column: count(result, metric) for metric, column in _METRICS.items()},
        "attributes_json": others_json(result, _MEMBERS),
    }


def _endpoints(api: AzureOpenaiUsageApi) -> list[ReportEndpoint]:
    return [
        ReportEndpoint(
            metrics_path(api.resource_id),
            lambda window: metrics_query(
                window,
                tuple(_METRICS),
                interval="PT1H",
                aggregation="Total",
                dimensions=("ModelDeploymentName", *api.group_by),
            ),
        )
    ]


FORMAT = ReportFormat(BUCKETS, "start", "end", frozenset(_METRICS), _columns, pages=_pages)
_REPORT = Report(FORMAT, opened, _endpoints, metric_pages, METRICS_RETENTION)

connector = Connector(
    kind="azure_openai_usage",
    feed="reports",
    entities=(BUCKETS,),
    options=AzureOpenaiUsageOptions,
    read=_REPORT.inputs,
    check=_REPORT.check,
)
