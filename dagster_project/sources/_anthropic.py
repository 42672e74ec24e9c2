"""What Anthropic's organisation APIs share: address, client, the days of a query."""

from pydantic import Field

from dagster_project.sources._api import Api
from dagster_project.sources._reports import ReportApi
from dagster_project.sources._windows import Window

_VERSION = "2023-06-01"


class AnthropicApi(ReportApi):
    """How one of the APIs is asked."""

    url: str = Field(default="https://api.anthropic.com", exclude=True)


def opened(api: AnthropicApi, *betas: str) -> Api:
    """Give a client of the API, with the betas that a request needs."""
    beta = {"anthropic-beta": ",".join(betas)} if betas else {}
    return Api(api, {"x-api-key": api.key, "anthropic-version": _VERSION, **beta})


def bounds(window: Window) -> dict[str, str]:
    """Give the values of a query that say of when."""
    return {"starting_at": f"{window.start_at:%Y-%m-%dT%H:%M:%SZ}", "ending_at": f"{window.end_at:%Y-%m-%dT%H:%M:%SZ}"}
