"""Signatures and fetched tokens, against vectors that the vendors publish and against keys that the tests make."""

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import SecretStr

from dagster_project.errors import PermanentSourceError
from dagster_project.sources._cloud_auth import AwsSignature, google_token
from tests.sources.api_server import Call, api_server, reply
from tests.sources.web import Answer

# AWS Signature Version 4 test suite: its key, its instant, and the signatures of `get-vanilla` and
# `get-vanilla-query-order-key-case`.
AWS_SECRET = SecretStr("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
AWS_AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        ("https://example.amazonaws.com/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        (
            "https://example.amazonaws.com/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ],
)
def test_aws_signature_is_that_of_the_published_suite(url: str, signature: str):
    auth = AwsSignature("AKIDEXAMPLE", AWS_SECRET, None, region="us-east-1", service="service", now=lambda: AWS_AT)
    request = next(auth.auth_flow(httpx2.Request("GET", url)))
    assert request.headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


def test_aws_signature_covers_body_target_and_session_token():
    def signed(body: str, token: str | None) -> httpx2.Headers:
        secret = SecretStr(token) if token else None
        auth = AwsSignature(
            "AKIDEXAMPLE", AWS_SECRET, secret, region="us-east-1", service="monitoring",
            content_type="application/x-amz-json-1.0", now=lambda: AWS_AT,
        )  # fmt: skip
        request = httpx2.Request("POST", "https://example.amazonaws.com/", content=body, headers={"X-Amz-Target": "t"})
        return next(auth.auth_flow(request)).headers

    plain, other, session = signed("{}", None), signed("{} ", None), signed("{}", "session")
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-target," in plain["authorization"]
    assert plain["content-type"] == "application/x-amz-json-1.0"
    assert plain["authorization"] != other["authorization"]
    assert "x-amz-security-token" in session["authorization"]
    assert AWS_SECRET.get_secret_value() not in str(session)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_google_token_is_granted_for_a_signed_claim_and_renewed_before_it_expires():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    clock = [datetime(2026, 7, 1, tzinfo=UTC)]
    claims: list[dict[str, object]] = []

    def grant(call: Call) -> Answer:
        assertion = parse_qs(call.body.decode())["assertion"][0]
        head, claim, signature = assertion.split(".")
        key.public_key().verify(_decoded(signature), f"{head}.{claim}".encode(), padding.PKCS1v15(), hashes.SHA256())
        claims.append(json.loads(_decoded(claim)))
        return reply({"access_token": f"token-{len(claims)}", "expires_in": 3600})

    seen: list[str] = []

    def metrics(call: Call) -> Answer:
        seen.append(call.headers["authorization"])
        return reply({})

    with api_server({"/token": grant, "/metrics": metrics}) as server:
        account = {"private_key": pem, "client_email": "reader@novaspark.example", "token_uri": f"{server.url}/token"}
        auth = google_token(SecretStr(json.dumps(account)), now=lambda: clock[0])
        with httpx2.Client(auth=auth, timeout=5) as client:
            for elapsed_minutes in (0, 57, 58):
                clock[0] = datetime(2026, 7, 1, tzinfo=UTC) + timedelta(minutes=elapsed_minutes)
                client.get(f"{server.url}/metrics")
    # It lasts 60 minutes and is renewed two before its end.
    assert seen == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]
    start = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
    assert claims[0] == {
        "iss": "reader@novaspark.example",
        "scope": "https://www.googleapis.com/auth/monitoring.read",
        "aud": f"{server.url}/token",
        "iat": start,
        "exp": start + 3600,
    }


@pytest.mark.parametrize("text", ["{", "{}", '{"private_key": "no key", "client_email": "a", "token_uri": "b"}', "[]"])
def test_google_token_refuses_what_is_no_key_without_showing_it(text: str):
    with pytest.raises(PermanentSourceError, match="no key of a Google service account") as raised:
        google_token(SecretStr(text))
    assert 'no key"' not in str(raised.value)
