"""The endpoint: the real SDK exports to it, what it confirmed is landed, what it cannot take is answered as agreed."""

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import orjson
import pytest
import zstandard
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.trace.export import SpanExportResult

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.receiver import _spool
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


def test_prompts_and_users_are_not_even_spooled(tmp_path: Path):
    content = {"gen_ai.input.messages": PROMPT, "input.value": PROMPT, "user.id": "ada@example.org"}
    with receiving(tmp_path / "spool") as live:
        exporter_to(live.url).export(spans_of_the_sdk(1, content))
        live.post(_export(1, **content))
    stored = _stored(live.folder)
    assert b"gen_ai.operation.name" in stored
    assert b"SECRET" not in stored
    assert b"ada@example.org" not in stored
    rows = live.pulled(tmp_path).rows()
    assert [(row["user_id"], row["tokenledger_user_pseudonym"]) for row in rows] == [(None, None)] * 2


def test_users_become_pseudonyms_under_the_companys_key(tmp_path: Path):
    with receiving(tmp_path / "spool", hash_key=b"key") as live:
        live.post(_export(1, **{"user.id": "ada@example.org", "user.email": "ada@example.org"}))
    [row] = live.pulled(tmp_path).rows()
    assert row["tokenledger_user_pseudonym"] == hashed_user("ada@example.org", b"key")
    assert b"ada@example.org" not in _stored(live.folder)


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
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": [{}]}]}]}]}', {}, 400),
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
    release = threading.Event()
    with receiving(tmp_path / "spool", max_request_bytes=100_000, max_pending_bytes=100_000) as live:
        append = live.spool.append

        def slow(frames: list[bytes]) -> None:
            release.wait(30)
            append(frames)

        monkeypatch.setattr(live.spool, "append", slow)
        body = _export(1, padding=os.urandom(30_000).hex())
        first = threading.Thread(target=live.post, args=(body,))
        first.start()
        while live.post(b" " * 90_000).status_code != 503:
            time.sleep(0.01)
        answer = live.post(b" " * 90_000)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        threading.Timer(0.5, release.set).start()
        spans = spans_of_the_sdk(1, {"padding": "x" * 90_000})
        started = time.monotonic()
        assert exporter_to(live.url, Compression.NoCompression).export(spans) is SpanExportResult.SUCCESS
        # It was sent away once at least, and told to wait for a second.
        assert time.monotonic() - started >= 1
        first.join()
    assert _span_ids(live.pulled(tmp_path)) == sorted([f"{1:016x}", f"{spans[0].context.span_id:016x}"])


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_what_is_not_on_the_disk_is_not_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    def failing(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with receiving(tmp_path / "spool") as live:
        monkeypatch.setattr(_spool.os, call, failing)
        answer = live.post(_export(1))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
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
    while len(confirmed) < 20:
        time.sleep(0.01)
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
    padding = {"key": "padding", "value": {"stringValue": os.urandom(7 << 20).hex()}}
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
