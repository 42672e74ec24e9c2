"""What sources that ask Azure Resource Manager share: how it is reached, and an account's platform metrics."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import Field, model_validator

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._api import Api, ApiOptions, ApiRequest, bearer, single_page, words_of
from dagster_project.sources._cloud_auth import azure_token
from dagster_project.sources._connector import HeaderSecret
from dagster_project.sources._json import member
from dagster_project.sources._windows import Window

METRICS_RETENTION = timedelta(days=92)
"""How long after its start a day of metrics can be asked for: Azure Monitor keeps platform metrics for 93 days."""

# Without it an answer ends after ten series.
_MOST_SERIES = 1000


class AzureApi(ApiOptions):
    """How Azure Resource Manager is reached.

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
    def _principal_is_whole(self) -> "AzureApi":
        if (self.tenant_id is None) != (self.client_id is None):
            msg = "expected both `tenant_id` and `client_id`, or none of them when `key` is a token"
            raise ValueError(msg)
        return self


def opened(options: AzureApi) -> Api:
    """Give a client of Azure Resource Manager."""
    if options.tenant_id is None or options.client_id is None:
        return Api(options, {"Authorization": bearer(options.key)})
    scope = f"{options.url}/.default"
    return Api(
        options, {}, auth=azure_token(options.login_url, options.tenant_id, options.client_id, options.key, scope)
    )


def metrics_path(resource_id: str) -> str:
    """Give the path of a resource's metrics."""
    return f"{resource_id}/providers/Microsoft.Insights/metrics"


def metrics_query(
    window: Window, metrics: Sequence[str], *, interval: str, aggregation: str, dimensions: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Give the query for metrics of a window of time, a series for each combination of values of the dimensions."""
    return (
        ("api-version", "2024-02-01"),
        ("metricnames", ",".join(metrics)),
        ("timespan", f"{window.start_at:%Y-%m-%dT%H:%M:%SZ}/{window.end_at:%Y-%m-%dT%H:%M:%SZ}"),
        ("interval", interval),
        ("aggregation", aggregation),
        ("$filter", " and ".join(f"{name} eq '*'" for name in dimensions)),
        ("top", str(_MOST_SERIES)),
    )


def metric_pages(api: Api, request: ApiRequest) -> Iterator[Any]:
    """Give an answer's page without what is of the asking alone.

    Raises:
        PermanentSourceError: the API refuses, or its answer may have been cut.
        TransientSourceError: it cannot be reached, or does not answer in full.
    """
    for page in api.pages(request, single_page):
        metrics = values_of(api, request.path, page)
        for metric in metrics:
            if (code := member(metric, "errorCode")) not in {None, "Success"}:
                words = f"{code}: {member(metric, 'errorMessage')}"
                raise api.incomplete(request.path, "has a metric that could not be read", words)
        series = [member(metric, "timeseries") for metric in metrics]
        if any(isinstance(found, list) and len(found) >= _MOST_SERIES for found in series):
            msg = (
                f"Asked {api.address(request.path)}: {_MOST_SERIES} deployments or more, expected fewer. "
                "Report the account."
            )
            raise PermanentSourceError(msg)
        yield {name: value for name, value in page.items() if name not in {"cost", "timespan"}}


def values_of(api: Api, path: str, page: object) -> list[Any]:
    """Give the list of a page.

    Raises:
        TransientSourceError: it has none.
    """
    items = member(page, "value")
    if not isinstance(items, list):
        raise api.incomplete(path, "has no list 'value'", words_of(page))
    return items


def dimensions_of(series: object) -> Mapping[str, Any]:
    """Give the values of a series' dimensions, by name in lower case."""
    pairs = member(series, "metadatavalues")
    return {
        str(member(pair, "name.value")).lower(): member(pair, "value")
        for pair in (pairs if isinstance(pairs, list) else [])
    }
