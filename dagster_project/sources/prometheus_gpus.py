"""GPU utilisation from Prometheus: range queries of DCGM's metrics, one measurement per series and step.

The answer is the API's `query_range` matrix: labels and [seconds, "text of a number"] pairs. `DCGM_FI_DEV_GPU_UTIL` counts
in percent, `DCGM_FI_PROF_GR_ENGINE_ACTIVE` is a share; the configuration says which. Which label names the GPU, and which
one the deployment that it serves, is the configuration's too.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

from pydantic import Field, model_validator

from dagster_project.sources._capacity import (
    MEASUREMENTS,
    Finding,
    attributes,
    instant,
    member,
    number,
    present,
)
from dagster_project.sources._reports import ResultError


def _findings(options: "PrometheusGpusOptions", page: Mapping[str, Any]) -> Iterator[Finding]:
    series = member(page, "data", "result")
    if page.get("status") != "success" or member(page, "data", "resultType") != "matrix" or not isinstance(series, list):
        code = "page_unknown"
        raise ResultError(code, f"the answer is no matrix of a range query: {page.get('error', page.get('status'))}")
    for item in series:
        labels, values = member(item, "metric"), member(item, "values")
        if not isinstance(labels, Mapping) or not isinstance(values, list):
            yield Finding(MEASUREMENTS, item, partial(_unreadable, "the series has no labels 'metric' and 'values'"))
            continue
        for value in values:
            yield Finding(MEASUREMENTS, {"metric": labels, "value": value}, partial(_columns, options, labels, value))


def _unreadable(reason: str) -> Mapping[str, Any]:
    code = "series_unknown"
    raise ResultError(code, reason)


def _columns(options: "PrometheusGpusOptions", labels: Mapping[str, Any], value: object) -> Mapping[str, Any]:
    if not isinstance(value, list) or len(value) != 2:
        return _unreadable("the value is no pair of an instant and a number")
    label = options.deployment_label
    deployment_id = options.deployment_id if label is None else present(labels.get(label), f"label {label}")
    return {
        "deployment_id": options.deployments.get(str(deployment_id), deployment_id),
        "instance_id": "/".join(present(labels.get(name), f"label {name}") for name in options.instance_labels),
        f"utilization_{options.unit}": number(value[1], "the value"),
        "measured_at": instant(value[0], "the value's time"),
        "attributes_json": attributes(labels, (label or "", *options.instance_labels)),
    }
