"""Paged JSON APIs: one client with credentials, patience, pacing, and the ways in which APIs turn pages.

A connector says what to ask (`ApiRequest`) and how the next page is asked for (a `Paging`); it gets the pages as exact
JSON. How long to wait, how often to try and how much to take are `HttpOptions`, and the rules of trying again are those
of `_http.py`. A key goes into a header and nowhere else; no message, address or file has it.
"""

import hashlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._connector import EnvironmentSecret, HeaderSecret, secret_origin, without_secrets
from dagster_project.sources._http import (
    HEADERS,
    Deadline,
    HttpOptions,
    RetryError,
    public_url,
    raise_if_busy,
    retried,
    whole_content,
)
from dagster_project.sources._json import canonical, exact, member

_MINUTE_SECONDS = 60
_SAID_LIMIT = 200
_REFUSED_KEY = frozenset({httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN})
_THROTTLED = re.compile(rb'"__type" ?: ?"[^"]*(Throttl|LimitExceeded|TooManyRequests)')
_THROTTLED_WITHIN = 1024
# Where APIs put the words of a refusal.
_REASONS = ("error.message", "message", "error", "detail")


class ApiOptions(BaseModel):
    """How an API is reached. None of it decides how an answer is read.

    Attributes:
        url: Address below which its paths are.
        key: Its key, `${NAME}`; None where it asks for none.
        requests_per_minute: How many requests at most in any minute.
        max_pages: How many pages an answer may have at most.
        http: Patience and size of one request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(exclude=True)
    key: HeaderSecret | None = Field(default=None, exclude=True)
    requests_per_minute: int = Field(default=60, gt=0, exclude=True)
    max_pages: int = Field(default=10_000, gt=0, exclude=True)
    http: HttpOptions = Field(default=HttpOptions(), exclude=True)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            is_right = (
                parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.username)
            )
        except ValueError:
            is_right = False
        if not is_right:
            msg = "expected an http:// or https:// address without user, password and query"
            raise ValueError(msg)
        return value.rstrip("/")


@dataclass(frozen=True)
class ApiRequest:
    """One request.

    Attributes:
        path: Below the API's address, or a whole address of the same host.
        params: Of the query, in order; a name may stand several times.
        method: GET, or POST with a body.
        body: Members of the JSON body of a POST.
    """

    path: str
    params: tuple[tuple[str, str], ...] = ()
    method: Literal["GET", "POST"] = "GET"
    body: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """Give a value of the query, of the body for a POST; None when it has none."""
        return self.body.get(name) if self.method == "POST" else dict(self.params).get(name)

    def having(self, name: str, value: object) -> "ApiRequest":
        """Give the request with one value of the query, or of the body for a POST, set."""
        if self.method == "POST":
            return replace(self, body={**self.body, name: value})
        others = tuple(item for item in self.params if item[0] != name)
        return replace(self, params=(*others, (name, str(value))))


@dataclass(frozen=True)
class ApiAnswer:
    """One page: its content as exact JSON, and the addresses of its Link header by relation."""

    content: Any
    links: Mapping[str, str]


Paging = Callable[[ApiRequest, ApiAnswer], ApiRequest | None]
"""Gives the request for the page after an answer; None after the last one."""


def single_page(_: ApiRequest, __: ApiAnswer) -> ApiRequest | None:
    """There is one page."""
    return None


def token_pages(token: str, param: str, has_more: str | None = None) -> Paging:
    """The body holds a token for the next page, at the dotted path `token`, and perhaps whether there is one."""

    def following(request: ApiRequest, answer: ApiAnswer) -> ApiRequest | None:
        is_last = has_more is not None and not member(answer.content, has_more)
        value = member(answer.content, token)
        return None if is_last or value in (None, "") else request.having(param, value)

    return following


def cursor_pages(items: str, item_id: str, param: str, has_more: str | None = None) -> Paging:
    """The next page begins after the last item, which is named by a member of it."""

    def following(request: ApiRequest, answer: ApiAnswer) -> ApiRequest | None:
        page = member(answer.content, items) if items else answer.content
        if not isinstance(page, list) or not page or (has_more is not None and not member(answer.content, has_more)):
            return None
        return request.having(param, member(page[-1], item_id))

    return following


def numbered_pages(param: str, last: str, first: int = 1) -> Paging:
    """Pages are numbered from `first`; the body holds the number of the last one."""

    def following(request: ApiRequest, answer: ApiAnswer) -> ApiRequest | None:
        number = int(request.value(param) or first)
        last_number = member(answer.content, last)
        return request.having(param, number + 1) if isinstance(last_number, int) and number < last_number else None

    return following


def offset_pages(items: str, limit: int, param: str = "offset", limit_param: str = "limit") -> Paging:
    """Pages begin at an offset; one with fewer items than were asked for is the last."""

    def following(request: ApiRequest, answer: ApiAnswer) -> ApiRequest | None:
        page = member(answer.content, items) if items else answer.content
        count = len(page) if isinstance(page, list) else 0
        if count < limit:
            return None
        return request.having(param, int(request.value(param) or 0) + count).having(limit_param, limit)

    return following


def linked_pages(_: ApiRequest, answer: ApiAnswer) -> ApiRequest | None:
    """The Link header names the next page's whole address."""
    return ApiRequest(answer.links["next"]) if "next" in answer.links else None


class Api:
    """A client of one API; a context manager that holds its connections.

    Args:
        options: Where it is, and the limits.
        headers: Its headers; a secret is given as such and is never shown.
        auth: How each request is signed, or gets a token that has to be fetched, where no header does.
        sleep: How to wait.
    """

    def __init__(
        self,
        options: ApiOptions,
        headers: Mapping[str, str | SecretStr],
        *,
        auth: httpx2.Auth | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._options = options
        given = (*(value for _, value in options), *headers.values())
        self._secrets = [value for value in given if isinstance(value, SecretStr)]
        self._sleep = sleep
        self._asked_at: deque[float] = deque(maxlen=options.requests_per_minute)
        self._client = httpx2.Client(
            auth=auth,
            timeout=options.http.timeout_seconds,
            # A redirect could lead the key to another host.
            follow_redirects=False,
            headers={
                **HEADERS,
                "Accept": "application/json",
                **{
                    name: value.get_secret_value() if isinstance(value, SecretStr) else value
                    for name, value in headers.items()
                },
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def address(self, path: str) -> str:
        """Give the public address of a path, without query: what inputs and messages call it."""
        return public_url(self._url(path))

    def pages(self, request: ApiRequest, paging: Paging) -> Iterator[Any]:
        """Give the content of each page.

        Raises:
            PermanentSourceError: the API refuses, or its pages do not end.
            TransientSourceError: it cannot be reached, or does not answer in full.
        """
        seen: set[str] = set()
        asking = request
        for number in range(1, self._options.max_pages + 1):
            answer = self.ask(asking)
            asked = hashlib.sha256(repr(asking).encode()).hexdigest()
            given = hashlib.sha256(canonical(answer.content)).hexdigest()
            following = paging(asking, answer)
            # The last page may be one that came before: with nothing in it, for instance.
            if asked in seen or (following is not None and given in seen):
                msg = (
                    f"Asked {self.address(request.path)}: page {number} is one that came before, expected each page "
                    "once. What was read of this answer is not landed; report it to the API's provider."
                )
                raise PermanentSourceError(msg)
            seen |= {asked, given}
            yield answer.content
            if following is None:
                return
            asking = following
        msg = (
            f"Asked {self.address(request.path)}: {self._options.max_pages:,} pages and no end, expected an end. "
            "Raise `max_pages` in the source configuration if it is right."
        )
        raise PermanentSourceError(msg)

    def ask(self, request: ApiRequest) -> ApiAnswer:
        """Ask once, trying again where that may help.

        Raises:
            PermanentSourceError: the API refuses.
            TransientSourceError: it cannot be reached, or does not answer in full.
        """
        self._pace()
        return retried(
            lambda deadline: self._once(request, deadline),
            f"Asked {self.address(request.path)}",
            "pull again, or correct `url` in the source configuration.",
            self._options.http,
            self._pause,
            secrets=self._secrets,
        )

    def incomplete(self, path: str, lack: str, words: str = "") -> TransientSourceError:
        """Make the error of an answer that came with status 200, and is not whole or not the API's at all.

        Args:
            path: What was asked.
            lack: What it has, or lacks.
            words: What it says itself, with or without secrets.
        """
        said = f" ({without_secrets(words, self._secrets)[:_SAID_LIMIT]})" if words else ""
        msg = (
            f"Asked {self.address(path)}: the answer {lack}{said}. Expected the whole answer, and landed none of it; "
            "pull again, or correct `url` or what is asked for in the source configuration."
        )
        return TransientSourceError(msg)

    def _once(self, request: ApiRequest, deadline: Deadline) -> ApiAnswer:
        url = self._url(request.path)
        what = f"Asked {public_url(url)}"
        body = canonical(request.body) if request.method == "POST" else None
        headers = {"Content-Type": "application/json"} if body else {}
        # An address that the API itself gave has its query already, which an empty one would take away.
        asked = httpx2.URL(url, params=request.params) if request.params else httpx2.URL(url)
        patience = deadline.timeout_seconds()
        with self._client.stream(request.method, asked, content=body, headers=headers, timeout=patience) as response:
            raise_if_busy(response)
            content = b"".join(whole_content(response, what, self._options.http, deadline))
            # AWS throttles with a status that others keep for wrong requests.
            if response.status_code == httpx2.codes.BAD_REQUEST and _THROTTLED.search(content[:_THROTTLED_WITHIN]):
                raise RetryError(f"status {response.status_code}, throttled")
            if not response.is_success:
                raise PermanentSourceError(self._refusal(response, what, content))
            links = {str(name): str(link["url"]) for name, link in response.links.items() if "url" in link}
        try:
            return ApiAnswer(exact(content), links)
        except ValueError as error:
            raise RetryError(f"status {response.status_code} with what is not JSON: {error}") from error

    def _pause(self, seconds: float) -> None:
        """Wait before another try, which is a request like any other."""
        self._sleep(seconds)
        self._pace()

    def _pace(self) -> None:
        """Wait until fewer than the allowed requests lie in the last minute."""
        at = now = time.monotonic()
        if len(self._asked_at) == self._asked_at.maxlen:
            at = max(now, self._asked_at[0] + _MINUTE_SECONDS)
            self._sleep(at - now)
        self._asked_at.append(at)

    def _url(self, path: str) -> str:
        if "://" not in path:
            return f"{self._options.url}/{path.lstrip('/')}"
        if _host(path) != _host(self._options.url):
            msg = (
                f"Asked {public_url(self._options.url)}: the next page is said to be on another host, "
                f"{public_url(path)}; expected it on the same one, and did not send the key there. Correct `url`."
            )
            raise PermanentSourceError(msg)
        return path

    def _refusal(self, response: httpx2.Response, what: str, content: bytes) -> str:
        said = self._said(content)
        if response.status_code in _REFUSED_KEY:
            origins = " and ".join(dict.fromkeys(secret_origin(value) for value in self._secrets)) or "`key`"
            return (
                f"{what}: status {response.status_code}{said}, expected the key to be accepted. "
                f"Set {origins} to a key that may read this."
            )
        if response.is_redirect:
            return f"{what}: status {response.status_code}, a redirect, expected the API itself. Correct `url`."
        return (
            f"{what}: status {response.status_code}{said}, expected 200. "
            "Correct `url` or what is asked for in the source configuration."
        )

    def _said(self, content: bytes) -> str:
        """Give the API's own words about a refusal, cut, with the secrets taken out."""
        try:
            parsed = exact(content)
        except ValueError:
            return ""
        words = without_secrets(words_of(parsed), self._secrets)
        return f" ({words[:_SAID_LIMIT]})" if words else ""


def words_of(content: object) -> str:
    """Give the words with which an answer says what is wrong; none when they stand nowhere that is usual."""
    return next((text for text in (member(content, path) for path in _REASONS) if isinstance(text, str)), "")


def _host(url: str) -> tuple[str, str, int | None]:
    """Give scheme, host and port of an address; the port that a scheme has anyway is none."""
    parsed = httpx2.URL(url)
    return parsed.scheme, parsed.host, parsed.port


def query(**params: str | int | Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Write a query: a sequence repeats its name, None is left out."""
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        values = [value] if isinstance(value, str | int) else list(value or ())
        pairs.extend((name, str(item)) for item in values)
    return tuple(pairs)


def bearer(key: SecretStr) -> SecretStr:
    """Give the Authorization header's value of a key."""
    return EnvironmentSecret.of(f"Bearer {key.get_secret_value()}", secret_origin(key))
