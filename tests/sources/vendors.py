"""OpenAI's and Anthropic's organisation APIs and Azure's as documented, on the loopback server: pages, refusals."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from tests.sources.api_server import Call, Route, keyed, reply, token_paged
from tests.sources.web import Answer

OPENAI_KEY = "sk-admin-openai-secret"
ANTHROPIC_KEY = "sk-ant-admin01-secret"

# What a vendor knows: results by the start of their bucket.
Results = dict[datetime, list[dict[str, Any]]]

_WIDTHS = {"1d": timedelta(days=1), "1h": timedelta(hours=1)}


def utc_day(day: int, hour: int = 0) -> datetime:
    """Give an instant of July 2026."""
    return datetime(2026, 7, day, hour, tzinfo=UTC)


def openai(
    results: Mapping[str, Results], *, dimensions: Mapping[str, tuple[str, ...]] | None = None, page_size: int = 31
) -> dict[str, Route]:
    """Speak `/v1/organization/*`: paths below it by name, and what each can be grouped by."""

    def route_of(name: str, known: Results) -> Route:
        def buckets(call: Call) -> list[Any]:
            start, end = (datetime.fromtimestamp(int(call.param(bound)), UTC) for bound in ("start_time", "end_time"))
            return [
                {
                    "object": "bucket",
                    "start_time": int(at.timestamp()),
                    "end_time": int((at + _WIDTHS[call.param("bucket_width")]).timestamp()),
                    "results": found,
                }
                for at, found in _filled(known, start, end, _WIDTHS[call.param("bucket_width")])
            ]

        def guarded(call: Call) -> Answer:
            wrong = set(call.params.get("group_by", [])) - set((dimensions or {}).get(name, call.params["group_by"]))
            if wrong:
                return reply({"error": {"message": f"Invalid group_by for {name}: {sorted(wrong)}"}}, 400)
            return token_paged(buckets, page_size)(call)

        return keyed("authorization", f"Bearer {OPENAI_KEY}", guarded)

    return {f"/v1/organization/{name}": route_of(name, known) for name, known in results.items()}


def anthropic(results: Mapping[str, Results], *, page_size: int = 31) -> dict[str, Route]:
    """Speak `/v1/organizations/*` with buckets of results."""

    def route_of(known: Results) -> Route:
        def buckets(call: Call) -> list[Any]:
            start, end = (datetime.fromisoformat(call.param(bound)) for bound in ("starting_at", "ending_at"))
            width = _WIDTHS[call.param("bucket_width")]
            return [
                {"starting_at": _text(at), "ending_at": _text(at + width), "results": found}
                for at, found in _filled(known, start, end, width)
            ]

        return _versioned(token_paged(buckets, page_size))

    return {f"/v1/organizations/{name}": route_of(known) for name, known in results.items()}


def anthropic_analytics(rows: Results, *, page_size: int = 1000) -> dict[str, Route]:
    """Speak `/v1/organizations/analytics/cost`: a row per day and group, and the beta header that it wants."""

    def found(call: Call) -> list[Any]:
        start, end = (datetime.fromisoformat(call.param(bound)) for bound in ("starting_at", "ending_at"))
        return [
            {"starting_at": _text(at), "ending_at": _text(at + timedelta(days=1)), **row}
            for at, found in sorted(rows.items())
            if start <= at < end
            for row in found
        ]

    def beta(call: Call) -> Answer:
        if call.headers.get("anthropic-beta") != "analytics-usage-cost-2026-08-24":
            return reply({"error": {"message": "this endpoint is in beta"}}, 404)
        return token_paged(found, page_size)(call)

    return {"/v1/organizations/analytics/cost": _versioned(beta)}


def _versioned(route: Route) -> Route:
    def guarded(call: Call) -> Answer:
        if call.headers.get("anthropic-version") != "2023-06-01":
            return reply({"error": {"message": "anthropic-version: header is required"}}, 400)
        return route(call)

    return keyed("x-api-key", ANTHROPIC_KEY, guarded)


def _filled(
    known: Results, start: datetime, end: datetime, width: timedelta
) -> list[tuple[datetime, list[dict[str, Any]]]]:
    """Give every bucket of a range, those without results too."""
    count = int((end - start) / width)
    return [(start + width * index, known.get(start + width * index, [])) for index in range(count)]


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


AZURE_ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/novaspark"
AZURE_METRICS = f"{AZURE_ACCOUNT}/providers/Microsoft.Insights/metrics"
AZURE_SECRET = "client-credential-value"  # noqa: S105 - of a server of the test


def azure(routes: Mapping[str, Route]) -> dict[str, Route]:
    """Speak Azure Resource Manager below paths, to those who have a token, and give tokens for the client's secret."""

    def tokens(call: Call) -> Answer:
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        if form["client_secret"] != AZURE_SECRET:
            return reply({"error": "invalid_client", "error_description": form["client_secret"]}, 401)
        return reply({"access_token": f"token-of-{form['client_id']}", "expires_in": 3600, "token_type": "Bearer"})

    granted = "Bearer token-of-app"
    return {
        "/tenant/oauth2/v2.0/token": tokens,
        **{path: keyed("authorization", granted, route) for path, route in routes.items()},
    }


def azure_api(url: str, secret: object = AZURE_SECRET) -> dict[str, Any]:
    """Give the options by which an account of that server is asked from 1 July 2026 on."""
    return {
        "url": url, "login_url": url, "resource_id": AZURE_ACCOUNT, "tenant_id": "tenant", "client_id": "app",
        "key": secret, "start_date": "2026-07-01", "requests_per_minute": 10**9,
        "http": {"timeout_seconds": 2, "pause_seconds": 0, "attempt_count": 3},
    }  # fmt: skip
