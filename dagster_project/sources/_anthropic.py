"""What Anthropic's organisation APIs share: address, headers, the days of a query."""

from collections.abc import Mapping

from pydantic import Field, SecretStr

from dagster_project.sources._reports import ReportApi
from dagster_project.sources._windows import Window

_VERSION = "2023-06-01"


class AnthropicApi(ReportApi):
    """How one of the APIs is asked."""

    url: str = Field(default="https://api.anthropic.com", exclude=True)


def headers(api: AnthropicApi, *betas: str) -> Mapping[str, str | SecretStr]:
    """Give the headers of a request, with the betas that it needs."""
    beta = {"anthropic-beta": ",".join(betas)} if betas else {}
    return {"x-api-key": api.key, "anthropic-version": _VERSION, **beta}


def bounds(window: Window) -> dict[str, str]:
    """Give the values of a query that say of when."""
    return {"starting_at": f"{window.start_at:%Y-%m-%dT%H:%M:%SZ}", "ending_at": f"{window.end_at:%Y-%m-%dT%H:%M:%SZ}"}
