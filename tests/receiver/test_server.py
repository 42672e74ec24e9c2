"""The endpoint: the real SDK exports to it, what it confirmed is landed, what it cannot take is answered as agreed."""

import asyncio
import contextlib
import errno
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx2
import orjson
import pytest
import zstandard
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.trace.export import SpanExportResult

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.receiver import _exports, _spool, server
from dagster_project.receiver._exports import RefusedExportError
from dagster_project.sources._connector import PullContext, hashed_user
from dagster_project.sources.otlp_files import OtlpFilesOptions, connector
from dagster_project.warehouse.landing import Landing
from tests.receiver.serving import Live, exporter_to, receiving, spans_of_the_sdk
from tests.sources.pulling import FIXTURES, NOW, Pulled, pull

EXPORT = (FIXTURES / "otlp" / "traces.jsonl").read_bytes().splitlines()[0]
PROMPT = "SECRET of the prompt"


def _export(span_id: int, **attributes: str) -> bytes:
    """One span in OTLP/JSON."""
    span = {
        "traceId": f"{1:032x}",
        "spanId": f"{span_id:016x}",
        "startTimeUnixNano": "1782864000000000000",
        "attributes": [{"key": name, "value": {"stringValue": value}} for name, value in attributes.items()],
    }
    return orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def _stored(folder: Path) -> bytes:
    """Everything in the published files."""
    return b"".join(
        zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True).read()
        for path in folder.glob("*.jsonl.zst")
    )


def _span_ids(pulled: Pulled) -> list[str]:
    """Ids of all landed spans, in any order."""
    landings = [item for item in pulled.results if isinstance(item, Landing)]
    assert len(landings) == len(pulled.results), pulled.results
    return sorted(row["span_id"] for item in landings for row in Pulled(pulled.zone, [item]).rows())


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.NoCompression])
def test_what_the_sdk_exports_is_landed(tmp_path: Path, compression: Compression):
    spans = spans_of_the_sdk(3, {"gen_ai.response.time_to_first_chunk": 0.25, "app.tags": ["a", "b"]})
    with receiving(tmp_path / "spool") as live:
        assert exporter_to(live.url, compression).export(spans) is SpanExportResult.SUCCESS
    landing = live.pulled(tmp_path)
    # 100 + 101 + 102 = 303 input tokens, 3 x 7 = 21 output tokens.
    assert (landing.landing.tokens_in, landing.landing.tokens_out) == (303, 21)
    rows = landing.rows()
    assert [row["span_id"] for row in rows] == [f"{span.context.span_id:016x}" for span in spans]
    assert [row["trace_id"] for row in rows] == [f"{span.context.trace_id:032x}" for span in spans]
    assert {(row["service_name"], row["scope_name"], row["span_name"], row["span_kind"]) for row in rows} == {
        ("chat-backend", "app", "chat gpt-4o", 1)
    }
    assert rows[0]["gen_ai_response_time_to_first_chunk_s"] == 0.25
    assert orjson.loads(rows[0]["attributes_json"])["app.tags"] == ["a", "b"]
    assert rows[0]["start_at"].timestamp() == pytest.approx(spans[0].start_time / 1e9, abs=1e-6)


# LiteLLM's raw request and response, Logfire's, Traceloop's; users of LiteLLM, Langfuse, Vercel's SDK and Traceloop.
CONTENT = {
    "gen_ai.input.messages": PROMPT,
    "input.value": PROMPT,
    "llm.openai.messages": PROMPT,
    "llm.vertex_ai.contents": PROMPT,
    "llm.completions.0.content": PROMPT,
    "request_data": PROMPT,
    "response_data": PROMPT,
    "app.transcript": PROMPT + "." * 1_024,
    "exception.message": PROMPT,
    "metadata": orjson.dumps({"prompt": PROMPT, "user_id": "ada@example.org", "plan": "gold"}).decode(),
}
USERS = dict.fromkeys(
    (
        "user.id",
        "llm.user",
        "langfuse.user.id",
        "ai.telemetry.metadata.userId",
        "traceloop.association.properties.user_id",
        "metadata.user_api_key_user_email",
        "metadata.user_api_key_end_user_id",
        "metadata.requester_ip_address",
        "app.username",
    ),
    "ada@example.org",
)


def test_prompts_and_users_are_not_even_spooled(tmp_path: Path):
    content = CONTENT | USERS
    with receiving(tmp_path / "spool") as live:
        exporter_to(live.url).export(spans_of_the_sdk(1, content, failed_with=PROMPT))
        live.post(_export(1, **content))
        nested = orjson.loads(_export(2))
        values = [{"key": name, "value": {"stringValue": text}} for name, text in content.items()]
        nested["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= {
            "attributes": [{"key": "app", "value": {"kvlistValue": {"values": values}}}],
            "events": [{"name": PROMPT}],
            "status": {"code": 2, "message": PROMPT},
            "transcript": PROMPT,
        }
        assert live.post(orjson.dumps(nested)).status_code == 200
    stored = _stored(live.folder)
    assert b"gen_ai.operation.name" in stored
    assert b"SECRET" not in stored
    assert b"ada@example.org" not in stored
    rows = live.pulled(tmp_path).rows()
    assert [(row["user_id"], row["tokenledger_user_pseudonym"]) for row in rows] == [(None, None)] * 3
    assert [row["status_code"] for row in rows] == [2, None, 2]
    assert [orjson.loads(row["attributes_json"])["metadata"] for row in rows[:2]] == ['{"plan":"gold"}'] * 2


@pytest.mark.parametrize("name", ["user.id", "llm.user", "langfuse.user.id", "app.userName"])
def test_users_become_pseudonyms_under_the_companys_key(tmp_path: Path, name: str):
    with receiving(tmp_path / "spool", hash_key=b"key") as live:
        live.post(_export(1, **{name: "ada@example.org", "user.email": "ada@example.org"}))
    [row] = live.pulled(tmp_path).rows()
    assert row["tokenledger_user_pseudonym"] == hashed_user("ada@example.org", b"key")
    assert b"ada@example.org" not in _stored(live.folder)


def test_an_attribute_without_a_name_is_left_out_alone(tmp_path: Path):
    export = orjson.loads(_export(1, **{"server.address": "api.openai.com"}))
    attributes = export["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"]
    attributes += [{}, {"value": {"stringValue": "x"}}, {"key": "", "value": {}}, "x"]
    with receiving(tmp_path / "spool") as live:
        assert live.post(orjson.dumps(export)).status_code == 200
    [row] = live.pulled(tmp_path).rows()
    assert (row["server_address"], row["attributes_json"]) == ("api.openai.com", None)


def test_json_lands_as_its_file_would(tmp_path: Path):
    with receiving(tmp_path / "spool") as live:
        answer = live.post(gzip.compress(EXPORT), content_encoding="gzip")
    assert (answer.status_code, answer.content) == (200, b"{}")
    (tmp_path / "file.jsonl").write_bytes(EXPORT)
    as_file = pull(tmp_path / "file", "otlp_files", path=str(tmp_path / "file.jsonl")).rows()
    as_received = live.pulled(tmp_path).rows()
    for row in [*as_file, *as_received]:
        del row["input_uri"]
    assert as_received == as_file


def test_a_large_export_becomes_lines_that_can_be_read(tmp_path: Path):
    """1,100 spans = 512 + 512 + 76."""
    spans = spans_of_the_sdk(1_100)
    with receiving(tmp_path / "spool") as live:
        assert exporter_to(live.url).export(spans) is SpanExportResult.SUCCESS
    lines = [orjson.loads(line) for line in _stored(live.folder).splitlines()]
    assert [len(line["resourceSpans"][0]["scopeSpans"][0]["spans"]) for line in lines] == [512, 512, 76]
    rows = live.pulled(tmp_path).rows()
    assert [row["span_id"] for row in rows] == [f"{span.context.span_id:016x}" for span in spans]


def test_scopes_of_a_resource_share_a_line(tmp_path: Path):
    """Scopes of 300, 200 and 100 spans: 300 + 200 are 512 at most, with the next 100 they are not."""
    spans = orjson.loads(_export(1))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    scopes = [{"scope": {"name": f"s{count}"}, "spans": spans * count} for count in (300, 200, 100)]
    with receiving(tmp_path / "spool") as live:
        assert live.post(orjson.dumps({"resourceSpans": [{"scopeSpans": scopes}]})).status_code == 200
    lines = [orjson.loads(line)["resourceSpans"][0]["scopeSpans"] for line in _stored(live.folder).splitlines()]
    assert [[(item["scope"]["name"], len(item["spans"])) for item in line] for line in lines] == [
        [("s300", 300), ("s200", 200)],
        [("s100", 100)],
    ]


def _message(number: int, content: bytes) -> bytes:
    """A field of protobuf that holds bytes."""
    size, sized = len(content), b""
    while size > 127:
        sized, size = sized + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + sized + bytes([size]) + content


EMPTY_SPAN = _message(2, b"")
LONG_NAME = _message(1, b"service.name") + _message(2, _message(1, b"x" * 65_536))


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        # 11,000 empty spans; as many empty scopes; 24,000 empty attributes of one span; and of one resource.
        (_message(1, _message(2, EMPTY_SPAN * 11_000)), _exports.PROTOBUF, "10,000 spans"),
        (_message(1, _message(2, b"") * 11_000), _exports.PROTOBUF, "10,000 spans"),
        (_message(1, _message(2, _message(2, b"\x4a\x00" * 24_000))), _exports.PROTOBUF, "a span has more than"),
        (
            _message(1, _message(1, b"\x0a\x00" * 24_000) + _message(2, EMPTY_SPAN)),
            _exports.PROTOBUF,
            "a resource has more than",
        ),
        # 40,000 lists and as many commas.
        (b'{"resourceSpans": [' + b"[0]," * 40_000 + b"0]}", _exports.JSON, "79,000 values"),
        # A resource of 64 KiB and 5 x 512 spans: it is repeated in each of their lines.
        (
            _message(1, _message(1, _message(1, LONG_NAME)) + _message(2, EMPTY_SPAN * 512) * 5),
            _exports.PROTOBUF,
            "262,144 bytes of JSON",
        ),
    ],
    ids=["spans", "scopes", "attributes", "resource", "json", "repetition"],
)
def test_an_export_that_would_grow_is_refused_before_it_has(
    monkeypatch: pytest.MonkeyPatch, body: bytes, content_type: str, said: str
):
    """11,000 spans as objects would be 10 MB."""
    limits = {"_MOST_PARTS": 10_000, "_MOST_MESSAGES": 10_000, "_MOST_VALUES": 79_000, "_LINE_BYTES": 40_000}
    for name, limit in limits.items():
        monkeypatch.setattr(_exports, name, limit)
    # What decodes is imported before the memory is measured.
    list(_lines(_message(1, _message(2, EMPTY_SPAN)), _exports.PROTOBUF))
    tracemalloc.start()
    try:
        with pytest.raises(RefusedExportError, match=said) as refused:
            for _ in _lines(body, content_type):
                pass
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.status == 413
    assert peak_bytes < 3 << 20


def _lines(body: bytes, content_type: str) -> Iterator[bytes]:
    return _exports.lines_of(
        body,
        content_type=content_type,
        encoding="identity",
        limit_bytes=131_072 if len(body) < 131_072 else len(body),
        hash_key=None,
        keep_user_ids=False,
    )


def test_commas_in_texts_are_no_values(tmp_path: Path):
    export = _export(1, **{"gen_ai.input.messages": ',{"[' * 600_000})
    with receiving(tmp_path / "spool") as live:
        assert live.post(export).status_code == 200


def test_an_export_without_spans_is_confirmed_and_leaves_nothing(tmp_path: Path):
    with receiving(tmp_path / "spool") as live:
        assert [live.post(body).status_code for body in (b"{}", b'{"resourceSpans": [{}]}')] == [200, 200]
    assert live.pulled(tmp_path).results == []


def test_a_span_that_cannot_be_read_is_kept_with_its_reason(tmp_path: Path):
    with receiving(tmp_path / "spool") as live:
        assert live.post(_export(1, **{"gen_ai.usage.input_tokens": "many"})).status_code == 200
    assert live.pulled(tmp_path).reasons() == {0: "value_unparsable"}


GZIP = gzip.compress(EXPORT)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (EXPORT, {"content_type": "text/plain"}, 415),
        (EXPORT, {"content_encoding": "br"}, 415),
        (GZIP[:-9], {"content_encoding": "gzip"}, 400),
        (GZIP + GZIP, {"content_encoding": "gzip"}, 400),
        (EXPORT, {"content_encoding": "gzip"}, 400),
        (EXPORT[:-1], {}, 400),
        (b"[]", {}, 400),
        (b'{"resourceSpans": {}}', {}, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [7]}]}]}', {}, 400),
        (b"\x0a\xff\x01", {"content_type": "application/x-protobuf"}, 400),
        (b"\x0b", {"content_type": "application/x-protobuf"}, 400),
        (b"\xff" * 11, {"content_type": "application/x-protobuf"}, 400),
        (b"\xff\xff", {"content_type": "application/x-protobuf"}, 400),
        (b" " * 100_001, {}, 413),
        # 500,000 blanks are some 500 bytes of gzip.
        (gzip.compress(b" " * 500_000), {"content_encoding": "gzip"}, 413),
    ],
)
def test_what_is_no_export_is_refused_and_not_spooled(
    tmp_path: Path, body: bytes, headers: dict[str, str], status: int
):
    with receiving(tmp_path / "spool", max_request_bytes=100_000, max_decompressed_bytes=200_000) as live:
        answer = live.post(body, **headers)
        assert answer.status_code == status
        if headers.get("content_type") == "application/x-protobuf":
            assert Status.FromString(answer.content).message
        assert live.post(_export(1)).status_code == 200
    assert _span_ids(live.pulled(tmp_path)) == [f"{1:016x}"]


def test_only_the_path_of_traces_is_served(tmp_path: Path):
    with receiving(tmp_path / "spool") as live:
        assert httpx2.post(live.url.replace("traces", "metrics"), content=b"{}").status_code == 404
        assert httpx2.get(live.url).status_code == 405


def test_a_token_is_asked_for(tmp_path: Path):
    with receiving(tmp_path / "spool", token="right") as live:  # noqa: S106 - of the test
        assert live.post(_export(1)).status_code == 401
        assert live.post(_export(2), authorization="Bearer wrong").status_code == 401
        assert live.post(_export(3), authorization="Bearer right").status_code == 200
    assert _span_ids(live.pulled(tmp_path)) == [f"{3:016x}"]


def test_exports_beyond_the_budget_are_sent_away_and_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The disk stands still: of a budget of 100 kB some 30 kB are held, so that the SDK's 90 kB wait for room."""
    held, release = threading.Event(), threading.Event()
    with receiving(tmp_path / "spool", max_request_bytes=100_000, max_pending_bytes=100_000) as live:
        append = live.spool.append

        def slow(frames: list[bytes]) -> None:
            held.set()
            release.wait(30)
            append(frames)

        monkeypatch.setattr(live.spool, "append", slow)
        body = _export(1, **{"server.address": os.urandom(30_000).hex()})
        first = threading.Thread(target=live.post, args=(body,))
        first.start()
        assert held.wait(30)
        answer = live.post(b" " * 90_000)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        threading.Timer(0.5, release.set).start()
        spans = spans_of_the_sdk(1, {"server.address": "x" * 90_000})
        started = time.monotonic()
        assert exporter_to(live.url, Compression.NoCompression).export(spans) is SpanExportResult.SUCCESS
        # It was sent away once at least, and told to wait for a second.
        assert time.monotonic() - started >= 1
        first.join()
    assert _span_ids(live.pulled(tmp_path)) == sorted([f"{1:016x}", f"{spans[0].context.span_id:016x}"])


def _raw(live: Live, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(live.url.split(":")[2].split("/")[0])))
    connection.settimeout(30)
    connection.sendall(sent)
    return connection


HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_body_that_does_not_arrive_in_time_is_to_be_sent_again(tmp_path: Path):
    with (
        receiving(tmp_path / "spool", body_seconds=0.05) as live,
        _raw(live, HEAD + b"Content-Length: 100\r\n\r\n{") as slow,
    ):
        answer = slow.recv(1_000)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in answer


def test_a_body_of_unknown_length_holds_what_has_come(tmp_path: Path):
    """Four bodies of one byte leave room in a budget of 100 kB; one of 60 kB leaves none for 50 kB."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    with (
        receiving(tmp_path / "spool", max_request_bytes=100_000, max_pending_bytes=100_000) as live,
        contextlib.ExitStack() as open_ones,
    ):
        for _ in range(4):
            open_ones.enter_context(_raw(live, chunked + b"1\r\n{\r\n"))
        assert live.post(_export(1)).status_code == 200
        open_ones.enter_context(_raw(live, chunked + b"%x\r\n%b\r\n" % (60_000, b" " * 60_000)))
        deadline = time.monotonic() + 10
        while live.post(b"{}" + b" " * 50_000).status_code != 503 and time.monotonic() < deadline:
            time.sleep(0.01)
        later = open_ones.enter_context(_raw(live, chunked + b"%x\r\n%b\r\n" % (50_000, b" " * 50_000)))
        assert later.recv(1_000).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/tra", HEAD])
def test_a_connection_that_asks_nothing_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes):
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.5)
    with receiving(tmp_path / "spool") as live, _raw(live, sent) as idle:
        assert idle.recv(1_000) == b""
        assert live.post(_export(1)).status_code == 200


def test_connections_beyond_the_limit_are_sent_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "_too_many_connections", server._Seldom())
    with receiving(tmp_path / "spool", max_connections=2) as live:
        with _raw(live, b"") as _, _raw(live, b""):
            for _ in range(3):
                with _raw(live, b"") as third:
                    answer = third.recv(1_000)
                    assert answer.startswith(b"HTTP/1.1 503 ")
                    assert b"retry-after: 1\r\n" in answer
        deadline = time.monotonic() + 10
        while (status := live.post(_export(1)).status_code) != 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert status == 200
    assert len([record for record in caplog.records if "sent away" in record.message]) == 1


def test_there_are_fewer_connections_than_files(monkeypatch: pytest.MonkeyPatch):
    """Of 200 files that may be open, 64 are kept for others; a soft limit is raised to the hard one first."""
    limits = [(100, 200)]
    monkeypatch.setattr(server.resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(server.resource, "setrlimit", lambda _, both: limits.append(both))
    assert server._connection_limit(512) == 200 - 64
    assert limits[-1] == (200, 200)
    assert server._connection_limit(36) == 36


def test_a_lack_of_files_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "_no_more_files", server._Seldom())
    loop = asyncio.new_event_loop()
    for _ in range(3):
        server._handle_loop_error(
            loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")}
        )
    loop.close()
    assert [record.message for record in caplog.records] == [
        "No connection can be accepted: [Errno 24] Too many open files"
    ]


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_what_is_not_on_the_disk_is_not_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    def failing(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with receiving(tmp_path / "spool") as live:
        monkeypatch.setattr(_spool.os, call, failing)
        answer = live.post(_export(1))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        monkeypatch.undo()
        assert live.post(_export(2)).status_code == 200
    assert _span_ids(live.pulled(tmp_path)) == [f"{2:016x}"]


def test_exports_that_arrive_together_are_all_landed(tmp_path: Path):
    with receiving(tmp_path / "spool", file_bytes=2_000) as live:
        threads = [
            threading.Thread(target=lambda first=first: [live.post(_export(first + index)) for index in range(25)])
            for first in (0, 100, 200, 300)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(_span_ids(live.pulled(tmp_path)))) == 4 * 25


def test_pulls_go_on_meanwhile(tmp_path: Path):
    """Each export is published at once: every pull lands what came since the last, nothing twice."""
    with receiving(tmp_path / "spool", file_bytes=1) as live:
        assert live.pulled(tmp_path).results == []
        for count in (1, 2, 3):
            assert live.post(_export(count)).status_code == 200
            deadline = time.monotonic() + 10
            while len(list(live.folder.glob("*.zst"))) < count and time.monotonic() < deadline:
                time.sleep(0.01)
            assert _span_ids(live.pulled(tmp_path)) == [f"{index + 1:016x}" for index in range(count)]


def test_a_source_is_checked_by_an_empty_export(tmp_path: Path):
    context = PullContext(NOW, tmp_path)

    def options(token: str) -> OtlpFilesOptions:
        receiver = {"port": int(live.url.split(":")[2].split("/")[0]), "token": token}
        path = str(live.folder / "*.jsonl.zst")
        return OtlpFilesOptions.model_validate(
            {"name": "live", "kind": "otlp_files", "path": path, "receiver": receiver}
        )

    with receiving(tmp_path / "spool", token="right") as live:  # noqa: S106 - of the test
        assert "answers; 0 files to read" in str(connector.check(options("right"), context))  # type: ignore[misc]
        with pytest.raises(PermanentSourceError, match="status 401"):
            connector.check(options("wrong"), context)  # type: ignore[misc]
    with pytest.raises(TransientSourceError, match="Start `tokenledger receive live`"):
        connector.check(options("right"), context)  # type: ignore[misc]


# ---- the command


def _command(folder: Path, tmp_path: Path, port: int = 0, **options: int) -> subprocess.Popen[str]:
    config = tmp_path / "company.yaml"
    config.write_text(
        "organization: A\nstart_date: 2026-07-01\nsources:\n"
        f'  - {{name: live, kind: otlp_files, path: "{folder}/*.jsonl.zst",\n'
        f"     receiver: {orjson.dumps({'port': port, 'min_free_bytes': 0, **options}).decode()}}}\n"
    )
    run = "from dagster_project.cli import main; main()"
    arguments = ["receive", "--config", str(config), "--state-dir", str(tmp_path / "state")]
    return subprocess.Popen(
        [sys.executable, "-c", run, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "Receiving traces of live on http://127.0.0.1:" in line, line + process.stderr.read()  # type: ignore[union-attr]
    return line.split(" on ")[1].split(" into ")[0]


@pytest.mark.integration
def test_what_was_confirmed_survives_a_kill(tmp_path: Path):
    folder = tmp_path / "spool"
    killed = _command(folder, tmp_path)
    url = _url(killed)
    confirmed: list[int] = []

    def send() -> None:
        for index in range(1, 10_000):
            try:
                answer = httpx2.post(url, content=_export(index), headers={"content-type": "application/json"})
            except httpx2.TransportError:
                return
            if answer.status_code == 200:
                confirmed.append(index)

    sender = threading.Thread(target=send)
    sender.start()
    while len(confirmed) < 20 and sender.is_alive():
        time.sleep(0.01)
    assert len(confirmed) >= 20
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    sender.join()
    assert list(folder.glob("*.jsonl.zst")) == []
    again = _command(folder, tmp_path)
    url = _url(again)
    httpx2.post(url, content=_export(50_000), headers={"content-type": "application/json"})
    again.send_signal(signal.SIGTERM)
    assert again.wait(30) is not None
    landed = _span_ids(Live("", folder, None).pulled(tmp_path))  # type: ignore[arg-type]
    # One export may have been written and not yet confirmed when the process was killed.
    assert {f"{index:016x}" for index in [*confirmed, 50_000]} <= set(landed)
    assert len(landed) - len(confirmed) - 1 in (0, 1)


@pytest.mark.integration
def test_one_receiver_writes_to_a_folder(tmp_path: Path):
    first = _command(tmp_path / "spool", tmp_path)
    _url(first)
    second = _command(tmp_path / "spool", tmp_path)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "another one writes there" in said
    first.send_signal(signal.SIGINT)
    first.wait(30)


@pytest.mark.integration
def test_an_address_that_is_taken_is_said(tmp_path: Path):
    with receiving(tmp_path / "spool") as live:
        port = int(live.url.split(":")[2].split("/")[0])
        second = _command(tmp_path / "other", tmp_path, port)
        _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"Listened on 127.0.0.1:{port}: not possible" in said


def _peak_bytes(process: subprocess.Popen[str]) -> int:
    """Largest resident set so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.integration
def test_memory_is_bounded(tmp_path: Path):
    """Eight senders of 14 MiB each against a budget of 32 MiB: memory stays below the 448 MiB that they send."""
    process = _command(tmp_path / "spool", tmp_path, max_request_bytes=16 << 20, max_pending_bytes=32 << 20)
    url = _url(process)
    idle_bytes = _peak_bytes(process)
    padding = {"key": "server.address", "value": {"stringValue": os.urandom(7 << 20).hex()}}
    export = orjson.loads(_export(1))
    export["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].append(padding)
    body = orjson.dumps(export)
    statuses: list[int] = []

    def send() -> None:
        headers = {"content-type": "application/json"}
        statuses.extend(httpx2.post(url, content=body, headers=headers, timeout=60).status_code for _ in range(4))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    peak_bytes = _peak_bytes(process)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert set(statuses) == {200, 503}
    # Held are two bodies, as pieces and whole, beside one that is decoded: its objects, its lines, its frame; and the
    # interpreter.
    assert peak_bytes - idle_bytes < 7 * 16 << 20
