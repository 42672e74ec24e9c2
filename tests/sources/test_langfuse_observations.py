"""Langfuse's observations: the public API in both versions on a real server, and an export's files in each format."""

import base64
import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dagster_project.sources import discover
from dagster_project.sources._connector import PullContext, hashed_user
from dagster_project.sources.langfuse_observations import LangfuseObservationsOptions
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source
from tests.sources.api_server import Answer, ApiServer, Call, api_server, keyed, reply
from tests.sources.pulling import FIXTURES

KIND = "langfuse_observations"
FOLDER = FIXTURES / KIND
NOW = datetime(2026, 11, 19, 12, tzinfo=UTC)
SECRET_KEY = "sk-lf-v3ry-secret"  # noqa: S105 - of a server that lives for one test
BASIC = "Basic " + base64.b64encode(f"pk-lf-1:{SECRET_KEY}".encode()).decode()
COLUMNS = {"use_case_id": "tags.use_case", "provider_name": "metadata.provider"}
PAGE = json.loads((FOLDER / "page.json").read_text(encoding="utf-8"))
EXPORTED = [json.loads(line) for line in (FOLDER / "export.jsonl").read_text(encoding="utf-8").splitlines()]


def _options(**options: object) -> LangfuseObservationsOptions:
    given = {"name": "langfuse", "kind": KIND, "columns": COLUMNS, **options}
    return LangfuseObservationsOptions.model_validate(given)


def _asked(server: ApiServer, version: str = "v2", **options: object) -> LangfuseObservationsOptions:
    api = {
        "url": server.url, "public_key": "pk-lf-1", "key": SECRET_KEY, "version": version,
        "requests_per_minute": 60_000, "http": {"pause_seconds": 0.01}, "start_date": "2026-11-18",
    }  # fmt: skip
    return _options(api=api, **options)


def _pull(folder: Path, options: LangfuseObservationsOptions, now: datetime = NOW) -> list[Landing | SourceFailure]:
    zone = LandingZone(folder / "landing", hash_key=b"key")
    return pull_source(zone, discover()[KIND], options, now=now)


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    landings = LandingZone(folder / "landing").current(KIND)
    tables = [pq.read_table(file.path, partitioning=None) for item in landings for file in item.files]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return {row["call_id"]: row for row in rows}


def _everything(folder: Path) -> bytes:
    """Give all bytes of all files, and of what in them is compressed as a whole."""
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    rows = [pq.read_table(path, partitioning=None).to_pylist() for path in folder.rglob("*.parquet")]
    unpacked = [gzip.decompress(item) for item in files if item[:2] == b"\x1f\x8b"]
    return b"".join([*files, *unpacked, str(rows).encode()])


def _v2(call: Call) -> Answer:
    """Answer as the second version does: one observation per page, newest first, of the asked type and day."""
    found = [
        item
        for item in PAGE["data"]
        if item["type"] == call.param("type")
        and call.param("fromStartTime") <= item["startTime"] < call.param("toStartTime")
    ]
    start = int(call.param("cursor", "0"))
    meta = {"cursor": str(start + 1)} if start + 1 < len(found) else {}
    return reply({"data": found[start : start + 1], "meta": meta})


def _v1(call: Call) -> Answer:
    """Answer as the first version does: numbered pages, with what was said."""
    found = [
        {**item, "input": "SECRET PROMPT", "output": {"content": "SECRET ANSWER"}}
        for item in PAGE["data"]
        if item["type"] == call.param("type")
        and call.param("fromStartTime") <= item["startTime"] < call.param("toStartTime")
    ]
    number = int(call.param("page"))
    return reply({"data": found[number - 1 : number], "meta": {"page": number, "limit": 1, "totalPages": len(found)}})


ROUTES = {
    "/api/public/v2/observations": keyed("Authorization", BASIC, _v2),
    "/api/public/observations": keyed("Authorization", BASIC, _v1),
}


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_a_generation_becomes_a_call_whichever_version_is_asked(version: str, tmp_path: Path):
    with api_server(ROUTES) as server:
        results = _pull(tmp_path, _asked(server, version))
    assert [(item.input_uri.partition("#")[2], item.rows_landed) for item in results if isinstance(item, Landing)] == [
        ("2026-11-18", 2), ("2026-11-19", 0),
    ]  # fmt: skip
    call = _rows(tmp_path)["obs-1"]
    assert call["event_at"] == datetime(2026, 11, 18, 16, 9, 0, 875_000, tzinfo=UTC)
    assert json.loads(call["usage_json"]) == {
        "input": 421, "input_cached_tokens": 1024, "output": 200, "output_reasoning_tokens": 20, "total": 1665,
    }  # fmt: skip
    assert (call["dialect_type"], call["operation_name"], call["is_usage_record"]) == ("langfuse", "chat", True)
    assert (call["provider_name"], call["model_name"], call["use_case_id"]) == ("openai", "gpt-4o", "support_chat")
    assert (call["use_case_instance_id"], call["conversation_id"], call["step_name"]) == ("trace-1", "conv-9", "answer")
    # 0.581 s and 0.12 s.
    assert (call["latency_ms"], call["time_to_first_token_ms"]) == (581.0, 120.0)
    assert call["user_id"] == hashed_user("ada@example.com", b"key")
    assert json.loads(call["attributes_json"])["total_cost"] == 0.0058125


@pytest.mark.parametrize("user_column", [None, "metadata.user"])
def test_users_are_pseudonyms_in_every_file_and_hashed_once(user_column: str | None, tmp_path: Path):
    mail = "ada@example.com"
    columns = COLUMNS if user_column is None else {**COLUMNS, "user_id": user_column}
    observations = [{**item, "metadata": {"provider": "openai", "user": mail}} for item in PAGE["data"]]

    def answer(call: Call) -> Answer:
        is_asked = call.param("type") == "GENERATION" and call.param("fromStartTime") < "2026-11-19"
        return reply({"data": observations if is_asked else [], "meta": {}})

    with api_server({"/api/public/v2/observations": answer}) as server:
        _pull(tmp_path, _asked(server, columns=columns))
        assert mail.encode() not in _everything(tmp_path)
        assert _rows(tmp_path)["obs-1"]["user_id"] == hashed_user(mail, b"key")
        # Without a key there is no user; a source that keeps users has them as they are.
        for name, key, keep, user in [("none", None, False, None), ("kept", b"key", True, mail)]:
            folder = tmp_path / name
            zone = LandingZone(folder / "landing", hash_key=key)
            pull_source(zone, discover()[KIND], _asked(server, columns=columns, keep_user_ids=keep), now=NOW)
            assert _rows(folder)["obs-1"]["user_id"] == user
            assert (mail.encode() in _everything(folder)) == keep


def test_an_observation_without_usage_has_an_unknown_one(tmp_path: Path):
    with api_server(ROUTES) as server:
        _pull(tmp_path, _asked(server))
    failed = _rows(tmp_path)["obs-2"]
    assert (failed["usage_json"], failed["is_success"], failed["error_type"]) == (None, False, "error")


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_what_was_said_reaches_no_file(version: str, tmp_path: Path):
    with api_server(ROUTES) as server:
        _pull(tmp_path, _asked(server, version))
    everything = _everything(tmp_path)
    assert b"obs-1" in everything
    for word in (b"SECRET", SECRET_KEY.encode(), BASIC.removeprefix("Basic ").encode()):
        assert word not in everything


def test_content_is_not_even_asked_for(tmp_path: Path):
    with api_server(ROUTES) as server:
        _pull(tmp_path, _asked(server))
        assert {call.param("type") for call in server.calls} == {"GENERATION", "EMBEDDING"}
        assert all("io" not in call.param("fields").split(",") for call in server.calls)


def test_an_observation_that_is_finished_later_replaces_its_day(tmp_path: Path):
    finished = {**PAGE["data"][0], "level": "DEFAULT", "usageDetails": {"input": 10, "output": 5, "total": 15}}
    with api_server(ROUTES) as server:
        _pull(tmp_path, _asked(server))
        server.routes["/api/public/v2/observations"] = lambda call: (
            reply({"data": [finished, PAGE["data"][1]], "meta": {}})
            if call.param("type") == "GENERATION" and call.param("fromStartTime") < "2026-11-19"
            else reply({"data": [], "meta": {}})
        )
        later = NOW + timedelta(hours=1)
        results = _pull(tmp_path, _asked(server), later)
    assert [item.input_uri[-10:] for item in results if isinstance(item, Landing) and item.landed_at == later] == [
        "2026-11-18"
    ]
    assert json.loads(_rows(tmp_path)["obs-2"]["usage_json"]) == {"input": 10, "output": 5, "total": 15}


def test_a_refused_key_is_permanent_and_throttling_is_not(tmp_path: Path):
    with api_server(ROUTES) as server:
        api = {"url": server.url, "public_key": "pk-lf-1", "key": "wr0ng", "start_date": "2026-11-18"}
        failure = _pull(tmp_path, _options(api=api))[0]
        assert isinstance(failure, SourceFailure)
        assert not failure.is_transient
        assert "status 401" in failure.message
        assert "wr0ng" not in failure.message
        server.faults = [reply({}, 429, Retry_After="0"), reply({}, 502)]
        assert all(isinstance(item, Landing) for item in _pull(tmp_path, _asked(server)))


def test_an_answer_that_is_none_says_what_was_expected(tmp_path: Path):
    with api_server({"/api/public/v2/observations": lambda _: reply({"observations": []})}) as server:
        failure = _pull(tmp_path, _asked(server))[0]
    assert isinstance(failure, SourceFailure)
    assert "has no list `data`" in failure.message


# ---- files of an export


def _as_csv(path: Path, exported: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for item in exported for name in item))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for item in exported:
            writer.writerow(
                {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in item.items()}
            )


def _as_parquet(path: Path, exported: list[dict[str, Any]]) -> None:
    is_quoted = isinstance(exported[1]["usage_details"]["input"], str)
    counts = pa.map_(pa.string(), pa.string() if is_quoted else pa.int64())
    columns = {name: [item.get(name) for item in exported] for name in exported[1]}
    arrays = {
        name: pa.array([list((value or {}).items()) for value in values], counts)
        if name == "usage_details"
        else pa.array([json.dumps(value) for value in values])
        if name in {"metadata", "cost_details"}
        else pa.array([datetime.fromisoformat(value) if value else None for value in values], pa.timestamp("us"))
        if name in {"start_time", "end_time", "completion_start_time"}
        else pa.array(values)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path)


def _quoted(observation: dict[str, Any]) -> dict[str, Any]:
    """Give an observation as ClickHouse before 25.8 writes its counts, which have 64 bits: quoted."""
    return {**observation, "usage_details": {name: str(count) for name, count in observation["usage_details"].items()}}


def _write(path: Path, exported: list[dict[str, Any]] = EXPORTED) -> None:
    lines = "".join(json.dumps(item) + "\n" for item in exported)
    match path.name:
        case "export.csv":
            _as_csv(path, exported)
        case "export.parquet":
            _as_parquet(path, exported)
        case "export.json":
            path.write_text(json.dumps(exported), encoding="utf-8")
        case "export.jsonl.gz":
            path.write_bytes(gzip.compress(lines.encode()))
        case _:
            path.write_text(lines, encoding="utf-8")


@pytest.mark.parametrize("name", ["export.jsonl", "export.jsonl.gz", "export.json", "export.csv", "export.parquet"])
@pytest.mark.parametrize("is_quoted", [False, True], ids=["numbers", "quoted"])
def test_every_format_of_an_export_says_the_same(name: str, tmp_path: Path, *, is_quoted: bool):
    _write(tmp_path / name, [_quoted(item) for item in EXPORTED] if is_quoted else EXPORTED)
    [landing] = _pull(tmp_path, _options(path=str(tmp_path / name)))
    assert isinstance(landing, Landing)
    assert (landing.rows_read, landing.rows_landed) == (3, 3)
    rows = _rows(tmp_path)
    call = rows["obs-1"]
    assert call["event_at"] == datetime(2026, 11, 18, 16, 9, 0, 875_000, tzinfo=UTC)
    assert json.loads(call["usage_json"]) == {
        "input": 421, "input_cached_tokens": 1024, "output": 200, "output_reasoning_tokens": 20, "total": 1665,
    }  # fmt: skip
    assert (call["provider_name"], call["use_case_id"], call["latency_ms"]) == ("openai", "support_chat", 581.0)
    assert (rows["obs-3"]["operation_name"], rows["obs-3"]["is_usage_record"]) == ("embeddings", True)
    # 16:09:00.100 to 16:09:00.200: the export leaves the latency out.
    assert rows["obs-3"]["latency_ms"] == 100.0
    assert (rows["obs-0"]["operation_name"], rows["obs-0"]["is_usage_record"]) == ("span", False)
    assert "SECRET" not in str(rows)


def test_a_new_number_of_an_observation_is_kept_beside_it(tmp_path: Path):
    _write(tmp_path / "export.jsonl")
    _pull(tmp_path, _options(path=str(tmp_path / "export.jsonl")))
    assert json.loads(_rows(tmp_path)["obs-1"]["attributes_json"])["retry_number"] == 2


def test_a_broken_line_and_a_broken_count_are_rejected_alone(tmp_path: Path):
    broken = {**EXPORTED[1], "id": "obs-9", "usage_details": {"input": "many", "total": 1}}
    torn = json.dumps(EXPORTED[1])[:-1]
    lines = [json.dumps(EXPORTED[1]), torn, json.dumps(broken)]
    (tmp_path / "export.jsonl").write_text("\n".join(lines), encoding="utf-8")
    [landing] = _pull(tmp_path, _options(path=str(tmp_path / "export.jsonl")))
    assert isinstance(landing, Landing)
    assert landing.rejects_file is not None
    rejects = pq.read_table(landing.rejects_file.path).to_pylist()
    assert [(row["record_index"], row["reason_code"]) for row in rejects] == [
        (1, "json_broken"), (2, "value_unparsable"),
    ]  # fmt: skip
    assert "'input' is not a whole number" in rejects[1]["reason"]
    # Of a torn line, in which anything may be what was said, only how long it was.
    assert json.loads(rejects[0]["raw_text"]).keys() == {"read_bytes", "sha256"}
    assert json.loads(rejects[1]["raw_text"])["usage"] == {"input": "many", "total": 1}
    for reject in rejects:
        assert "SECRET" not in str(reject)
        assert "ada@example" not in str(reject)
    assert set(_rows(tmp_path)) == {"obs-1"}


def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path):
    (tmp_path / "export.xlsx").write_bytes(b"PK")
    [failure] = _pull(tmp_path, _options(path=str(tmp_path / "export.xlsx")))
    assert isinstance(failure, SourceFailure)
    assert "its name ends in none of .jsonl, .json, .csv, .parquet" in failure.message


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "either 'path' .* or 'api'"),
        ({"api": {"url": "http://h", "key": "k", "public_key": "p"}}, "start_date"),
        ({"path": "x.jsonl", "columns": {"use_case": "tags.x"}}, "unknown canonical column"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, object], problem: str):
    with pytest.raises(ValidationError, match=problem):
        _options(**given)


def test_check_asks_for_one_observation(tmp_path: Path):
    check = discover()[KIND].check
    assert check is not None
    with api_server(ROUTES) as server:
        said = check(_asked(server), PullContext(datetime(2026, 11, 18, 20, tzinfo=UTC), tmp_path))
        assert (said, server.calls[0].param("limit")) == (f"{server.url}: a generation today", "1")
        at_midnight = PullContext(datetime(2026, 11, 18, tzinfo=UTC), tmp_path)
        assert check(_asked(server), at_midnight) == f"{server.url}: a generation today"
    # The first records of a file are read like those of any other kind.
    assert check(_options(path=str(tmp_path / "export.jsonl")), PullContext(NOW, tmp_path)) is None
