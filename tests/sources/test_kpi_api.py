"""KPI scores from an HTTP API: each way of turning pages, windows, keys, refusals, against a real server."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from dagster_project.sources import discover
from dagster_project.sources._connector import PullContext
from dagster_project.sources.kpi_api import KpiApiOptions
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source
from tests.sources.api_server import Answer, ApiServer, Call, api_server, keyed, reply

KIND = "kpi_api"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = "k3y-of-the-survey"
ANSWERS = [
    {"id": f"a-{number}", "at": f"2026-11-18T0{number}:00:00Z", "case": {"ticket": f"t-{number}"}, "stars": number,
     "comment": "SECRET WORDS"}
    for number in range(1, 6)
]  # fmt: skip
COLUMNS = {"scored_at": "at", "use_case_instance_id": "case.ticket", "score": "stars"}
CONSTANTS = {"kpi_name": "csat", "use_case_id": "support_chat", "provenance": "self_reported"}


def _options(server: ApiServer, **options: object) -> KpiApiOptions:
    api = {"url": server.url, "key": KEY, "requests_per_minute": 60_000, "http": {"pause_seconds": 0.01}}
    of_api = {name: options.pop(name) for name in ("start_date", "key_header", "key_prefix") if name in options}
    given = {
        "name": "survey", "kind": KIND, "api": {**api, **of_api}, "path": "v1/answers", "columns": COLUMNS,
        "constants": CONSTANTS, **options,
    }  # fmt: skip
    return KpiApiOptions.model_validate(given)


def _pull(folder: Path, options: KpiApiOptions, now: datetime = NOW) -> list[Landing | SourceFailure]:
    return pull_source(LandingZone(folder / "landing"), discover()[KIND], options, now=now)


def _scores(folder: Path) -> dict[str, float]:
    landings = LandingZone(folder / "landing").current(KIND)
    tables = [pq.read_table(file.path, partitioning=None) for item in landings for file in item.files]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return {row["use_case_instance_id"]: row["score"] for row in rows}


ALL = {f"t-{number}": float(number) for number in range(1, 6)}


def _by_token(call: Call) -> Answer:
    start = int(call.param("page_token", "0"))
    following = str(start + 2) if start + 2 < len(ANSWERS) else None
    return reply({"data": ANSWERS[start : start + 2], "next": {"token": following}})


def _by_cursor(call: Call) -> Answer:
    after = call.param("after")
    start = next((n + 1 for n, item in enumerate(ANSWERS) if item["id"] == after), 0)
    return reply({"data": ANSWERS[start : start + 2], "has_more": start + 2 < len(ANSWERS)})


def _by_number(call: Call) -> Answer:
    number = int(call.param("page", "1"))
    return reply({"data": ANSWERS[2 * number - 2 : 2 * number], "meta": {"pages": 3}})


def _by_offset(call: Call) -> Answer:
    start, limit = int(call.param("offset", "0")), int(call.param("limit", "50"))
    return reply({"data": ANSWERS[start : start + limit]})


def _by_link(call: Call) -> Answer:
    start = int(call.param("start", "0"))
    following = f"http://{call.headers['host']}{call.path}?start={start + 2}"
    links = {"Link": f'<{following}>; rel="next"'} if start + 2 < len(ANSWERS) else {}
    return reply(ANSWERS[start : start + 2], **links)


@pytest.mark.parametrize(
    ("route", "options"),
    [
        (_by_token, {"paging": {"type": "token", "token": "next.token", "param": "page_token"}}),
        (_by_cursor, {"paging": {"type": "cursor", "record_id": "id", "param": "after", "has_more": "has_more"}}),
        (_by_number, {"paging": {"type": "number", "param": "page", "last": "meta.pages"}}),
        (_by_offset, {"paging": {"type": "offset", "limit": 2}}),
        (_by_link, {"paging": {"type": "link"}, "records": ""}),
        (lambda _: reply({"result": {"items": ANSWERS}}), {"records": "result.items"}),
    ],
    ids=["token", "cursor", "number", "offset", "link", "one_page"],
)
def test_every_way_of_turning_pages_gives_every_record_once(
    route: Callable[[Call], Answer], options: dict[str, Any], tmp_path: Path
):
    with api_server({"/v1/answers": keyed("Authorization", f"Bearer {KEY}", route)}) as server:
        [landing] = _pull(tmp_path, _options(server, **options))
    assert isinstance(landing, Landing)
    assert (landing.rows_landed, landing.rows_rejected) == (5, 0)
    assert _scores(tmp_path) == ALL


def test_only_mapped_members_are_kept(tmp_path: Path):
    with api_server({"/v1/answers": lambda _: reply({"data": ANSWERS})}) as server:
        _pull(tmp_path, _options(server))
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"SECRET WORDS" not in everything
    assert KEY.encode() not in everything


def test_windows_are_utc_days_in_the_apis_own_words(tmp_path: Path):
    def route(call: Call) -> Answer:
        return reply({"data": [item for item in ANSWERS if str(item["at"])[:10] == call.param("from")]})

    with api_server({"/v1/answers": route}) as server:
        window = {"start": "from", "end": "until", "format": "date"}
        options = _options(server, window=window, start_date="2026-11-18", params={"status": "closed"})
        results = _pull(tmp_path, options)
        assert [(call.param("from"), call.param("until"), call.param("status")) for call in server.calls] == [
            ("2026-11-18", "2026-11-19", "closed"), ("2026-11-19", "2026-11-20", "closed"),
            ("2026-11-20", "2026-11-21", "closed"),
        ]  # fmt: skip
    assert [(item.input_uri, item.rows_landed) for item in results if isinstance(item, Landing)] == [
        (f"{server.url}/v1/answers#2026-11-18", 5), (f"{server.url}/v1/answers#2026-11-19", 0),
        (f"{server.url}/v1/answers#2026-11-20", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("format_name", "start"), [("iso", "2026-11-20T00:00:00Z"), ("date", "2026-11-20"), ("unix_s", "1795132800")]
)
def test_instants_are_written_as_the_api_wants_them(format_name: str, start: str, tmp_path: Path):
    # 2026-11-20 is day 20,777 since 1970-01-01: 20,777 x 86,400 = 1,795,132,800.
    with api_server({"/v1/answers": lambda _: reply({"data": []})}) as server:
        window = {"start": "from", "end": "to", "format": format_name}
        _pull(tmp_path, _options(server, window=window, start_date="2026-11-20"))
        assert server.calls[0].param("from") == start


def test_throttling_errors_and_short_bodies_are_tried_again(tmp_path: Path):
    with api_server({"/v1/answers": _by_number}) as server:
        server.faults = [reply({}, 429, Retry_After="0"), None, reply({}, 503), reply(b"{", 200)]
        [landing] = _pull(tmp_path, _options(server, paging={"type": "number", "param": "page", "last": "meta.pages"}))
    assert isinstance(landing, Landing)
    assert _scores(tmp_path) == ALL


def test_a_failed_pull_loses_nothing_and_the_next_one_finds_all(tmp_path: Path):
    with api_server({"/v1/answers": lambda _: reply({"data": ANSWERS[:2]})}) as server:
        _pull(tmp_path, _options(server))
        server.faults = [reply({}, 500)] * 4
        [failure] = _pull(tmp_path, _options(server), NOW + timedelta(hours=1))
        assert isinstance(failure, SourceFailure)
        assert failure.is_transient
        assert len(_scores(tmp_path)) == 2
        server.routes["/v1/answers"] = lambda _: reply({"data": ANSWERS})
        _pull(tmp_path, _options(server), NOW + timedelta(hours=2))
    assert _scores(tmp_path) == ALL


def test_a_page_that_comes_again_is_no_answer(tmp_path: Path):
    with api_server({"/v1/answers": lambda _: reply({"data": ANSWERS, "next": "same"})}) as server:
        paging = {"type": "token", "token": "next", "param": "page_token"}
        [failure] = _pull(tmp_path, _options(server, paging=paging))
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "one that came before" in failure.message


def test_a_refused_key_is_permanent(tmp_path: Path):
    with api_server({"/v1/answers": keyed("X-Key", "other", _by_number)}) as server:
        [failure] = _pull(tmp_path, _options(server, key_header="X-Key", key_prefix=""))
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "status 401" in failure.message
    assert KEY not in failure.message


def test_a_page_without_records_says_where_it_was_looked_for(tmp_path: Path):
    with api_server({"/v1/answers": lambda _: reply({"items": ANSWERS})}) as server:
        [failure] = _pull(tmp_path, _options(server))
    assert isinstance(failure, SourceFailure)
    assert "no list at 'data'" in failure.message


def test_a_record_without_a_score_is_rejected_alone(tmp_path: Path):
    broken = [{**ANSWERS[0], "stars": None}, {**ANSWERS[1], "stars": "many"}, ANSWERS[2], "no object"]
    with api_server({"/v1/answers": lambda _: reply({"data": broken})}) as server:
        [landing] = _pull(tmp_path, _options(server))
    assert isinstance(landing, Landing)
    assert (landing.rows_landed, landing.rows_rejected) == (1, 3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"window": {"start": "a", "end": "b"}}, "'window' and the API's 'start_date' belong together"),
        ({"start_date": "2026-11-18"}, "'window' and the API's 'start_date' belong together"),
        ({"paging": {"type": "scroll"}}, "scroll"),
        ({"keep_unmapped": True}, "would keep what nobody chose"),
    ],
)
def test_options_that_contradict_each_other_are_refused(change: dict[str, object], problem: str):
    with pytest.raises(ValidationError, match=problem):
        _options(ApiServer(url="http://survey.example"), **change)


def test_check_counts_the_first_page(tmp_path: Path):
    check = discover()[KIND].check
    assert check is not None
    with api_server({"/v1/answers": _by_number}) as server:
        # At midnight the day that begins is asked for, and not everything.
        windowed = _options(server, window={"start": "from", "end": "until", "format": "date"}, start_date="2026-11-18")
        check(windowed, PullContext(datetime(2026, 11, 20, tzinfo=UTC), tmp_path))
        assert (server.calls[0].param("from"), server.calls[0].param("until")) == ("2026-11-20", "2026-11-21")
        assert check(_options(server), PullContext(NOW, tmp_path)) == (
            f"{server.url}/v1/answers: 2 records on the first page"
        )
