"""How the clouds are told who asks: AWS by a signature of each request, Azure and Google by a token that is fetched.

The three are small, documented and stable, and their vendors' packages bring a client of their own for everything
else. A secret key signs and is never sent; a fetched token lives in memory until it is about to expire.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

import httpx2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from pydantic import SecretStr

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._connector import secret_origin
from dagster_project.sources._http import RetryError, public_url, raise_if_busy

_UNRESERVED = "-_.~"
_GOOGLE_SCOPE = "https://www.googleapis.com/auth/monitoring.read"
# A token is renewed this long before it expires.
_MARGIN = timedelta(minutes=2)

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class AwsSignature(httpx2.Auth):
    """Signature Version 4 in the header of each request.

    Args:
        access_key_id: Name of the key.
        secret_access_key: The key.
        session_token: Of temporary credentials.
        region: `us-east-1`.
        service: Name of the service in the signature, `monitoring`.
        content_type: What a body is sent as, for services that insist on a name of their own.
        now: The clock.
    """

    requires_request_body = True

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: SecretStr,
        session_token: SecretStr | None,
        *,
        region: str,
        service: str,
        content_type: str | None = None,
        now: Clock = _now,
    ) -> None:
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._session_token = session_token
        self._region = region
        self._service = service
        self._content_type = content_type
        self._now = now

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Sign the request."""
        at = self._now().strftime("%Y%m%dT%H%M%SZ")
        request.headers["x-amz-date"] = at
        if self._session_token is not None:
            request.headers["x-amz-security-token"] = self._session_token.get_secret_value()
        if self._content_type and request.content:
            request.headers["content-type"] = self._content_type
        names = sorted(
            name for name in request.headers if name in {"host", "content-type"} or name.startswith("x-amz-")
        )
        signed_names = ";".join(names)
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        pairs = sorted(
            (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
            for name, value in parse_qsl(query, keep_blank_values=True)
        )
        canonical = "\n".join(
            [
                request.method,
                quote(path, safe=f"/{_UNRESERVED}"),
                "&".join(f"{name}={value}" for name, value in pairs),
                *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
                "",
                signed_names,
                hashlib.sha256(request.content).hexdigest(),
            ]
        )
        scope = f"{at[:8]}/{self._region}/{self._service}/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self._secret_access_key.get_secret_value()}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        request.headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access_key_id}/{scope}, "
            f"SignedHeaders={signed_names}, Signature={signature}"
        )
        yield request


class FetchedToken(httpx2.Auth):
    """A bearer token that an OAuth 2.0 endpoint grants, fetched when there is none or the last one is about to expire.

    Args:
        url: The endpoint.
        form: Gives the fields of the request for a token.
        secret: What the request proves; named when it is refused.
        now: The clock.
    """

    def __init__(
        self, url: str, form: Callable[[], Mapping[str, str]], secret: SecretStr, *, now: Clock = _now
    ) -> None:
        self._url = url
        self._form = form
        self._secret = secret
        self._now = now
        self._token: SecretStr | None = None
        self._expires_at = now()

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Fetch a token when one is needed, and send the request with it."""
        if self._token is None or self._now() >= self._expires_at - _MARGIN:
            timeout = request.extensions.get("timeout")
            asked = httpx2.Request("POST", self._url, data=dict(self._form()), extensions={"timeout": timeout})
            response = yield asked
            response.read()
            self._take(response)
        if self._token is not None:
            request.headers["authorization"] = f"Bearer {self._token.get_secret_value()}"
        yield request

    def _take(self, response: httpx2.Response) -> None:
        raise_if_busy(response)
        try:
            content: Any = response.json()
        except ValueError as error:
            if response.is_success:
                raise RetryError(f"a token that is not JSON: {error}") from error
            content = None
        token = content.get("access_token") if isinstance(content, dict) else None
        if not response.is_success or not isinstance(token, str):
            code = content.get("error") if isinstance(content, dict) else None
            msg = (
                f"Asked {public_url(self._url)} for a token: status {response.status_code} ({code}), expected one. "
                f"Set {secret_origin(self._secret)} to a credential that may read this."
            )
            raise PermanentSourceError(msg)
        self._token = SecretStr(token)
        self._expires_at = self._now() + timedelta(seconds=float(content.get("expires_in", 300)))


def azure_token(login_url: str, tenant_id: str, client_id: str, secret: SecretStr, scope: str) -> FetchedToken:
    """Give the token of a service principal, by its client secret."""

    def form() -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret.get_secret_value(),
            "scope": scope,
        }

    return FetchedToken(f"{login_url.rstrip('/')}/{tenant_id}/oauth2/v2.0/token", form, secret)


def google_token(service_account: SecretStr, *, now: Clock = _now) -> FetchedToken:
    """Give the token of a service account, by its key file's JSON.

    Raises:
        PermanentSourceError: the secret is no key of a service account.
    """
    try:
        account = json.loads(service_account.get_secret_value())
        key = serialization.load_pem_private_key(account["private_key"].encode(), None)
        email, token_url = str(account["client_email"]), str(account["token_uri"])
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        msg = (
            f"Read {secret_origin(service_account)}: it is no key of a Google service account, expected the JSON "
            "of its key file, or a token. Set it to one of them."
        )
        raise PermanentSourceError(msg) from None
    private_key = key

    def form() -> dict[str, str]:
        at = int(now().timestamp())
        claims = {"iss": email, "scope": _GOOGLE_SCOPE, "aud": token_url, "iat": at, "exp": at + 3600}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        signature = private_key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": f"{signed}.{_base64(signature)}",
        }

    return FetchedToken(token_url, form, service_account, now=now)


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
