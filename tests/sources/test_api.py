"""The client of paged APIs against a real server: pages, patience, page loops, refusals, secrets that stay secret."""

import traceback
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._api import (
    Api,
    ApiOptions,
    ApiRequest,
    Paging,
    bearer,
    cursor_pages,
    linked_pages,
    numbered_pages,
    offset_pages,
    query,
    single_page,
    token_pages,
)
from dagster_project.sources._connector import EnvironmentText, Secret
from dagster_project.sources._http import HttpOptions
from tests.sources.api_server import ApiServer, Call, api_server, keyed, reply, token_paged, truncated
from tests.sources.web import Answer

KEY = "sk-admin-very-secret"
NEXT_TOKEN = token_pages("next_page", "page", "has_more")
QUICK = HttpOptions(timeout_seconds=2, pause_seconds=0, attempt_count=3)


class _Slept(list[float]):
    """Records pauses instead of waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def _api(server: ApiServer, slept: _Slept | None = None, **more: Any) -> Api:  # noqa: ANN401 - any option
    given = EnvironmentText.of(KEY, ("VENDOR_ADMIN_KEY",))
    content = {"url": server.url, "key": given, "http": QUICK, "requests_per_minute": 10**9, **more}
    options = ApiOptions.model_validate(content)
    assert options.key is not None
    return Api(options, {"Authorization": bearer(options.key)}, sleep=slept if slept is not None else _Slept())


def _pages(server: ApiServer, paging: Paging = NEXT_TOKEN, **more: Any) -> list[Any]:  # noqa: ANN401 - any option
    with _api(server, **more) as api:
        return list(api.pages(ApiRequest("v1/things"), paging))


def _things(_: Call) -> list[int]:
    return [1, 2, 3, 4, 5]


def test_pages_are_followed_to_the_end_with_the_key_in_its_header():
    with api_server({"/v1/things": keyed("authorization", f"Bearer {KEY}", token_paged(_things))}) as server:
        pages = _pages(server)
    assert [page["data"] for page in pages] == [[1, 2], [3, 4], [5]]
    assert [call.params for call in server.calls] == [{}, {"page": ["page_2"]}, {"page": ["page_4"]}]


def test_numbers_keep_their_digits():
    body = b'{"data": [1.1274999999999999e-4, 0.1, 12345678901234567890], "has_more": false}'
    with api_server({"/v1/things": lambda _: Answer(body=body)}) as server:
        [page] = _pages(server)
    # A double of the first has 17 digits too, but is another number; the last one has more than 64 bits.
    assert page["data"] == [Decimal("0.00011274999999999999"), Decimal("0.1"), Decimal("12345678901234567890")]


@pytest.mark.parametrize(
    "fault",
    [
        Answer(500),
        Answer(503),
        Answer(429),
        truncated({"data": [9] * 9}),
        Answer(body=b"<html>"),
        Answer(is_silent=True),
    ],
    ids=["500", "503", "429", "truncated", "no JSON", "silent"],
)
def test_a_request_that_may_succeed_later_is_tried_again_from_the_page_that_failed(fault: Answer):
    with api_server({"/v1/things": token_paged(_things)}) as server:
        server.faults = [None, fault, fault]
        pages = _pages(server)
    assert [page["data"] for page in pages] == [[1, 2], [3, 4], [5]]
    # One call for the first page, three for the second, one for the third.
    assert [call.param("page") for call in server.calls] == ["", "page_2", "page_2", "page_2", "page_4"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Answer(502), "3 times: status 502"),
        (truncated({"data": [9] * 9}), "3 times: "),
        (Answer(body=b"<html>"), "3 times: status 200 with what is not JSON"),
        (Answer(is_silent=True), "3 times: timed out"),
    ],
    ids=["502", "truncated", "no JSON", "silent"],
)
def test_a_request_that_never_succeeds_is_transient(fault: Answer, words: str):
    with api_server({"/v1/things": lambda _: fault}) as server, pytest.raises(TransientSourceError, match=words):
        _pages(server)
    assert len(server.calls) == 3


def test_the_server_says_how_long_to_wait_in_seconds_or_by_a_date():
    slept = _Slept()
    with api_server({"/v1/things": lambda _: reply([])}) as server, _api(server, slept) as api:
        server.faults = [
            reply({}, 429, Retry_After="7"),
            reply({}, 429, Retry_After="Sun, 01 Feb 2099 00:00:00 GMT"),
        ]
        assert api.ask(ApiRequest("v1/things")).content == []
    # A date in 2099 is far off: a minute is the longest pause.
    assert slept == [7, 60]


def test_requests_keep_the_pace_that_they_may_have():
    slept = _Slept()
    with api_server({"/v1/things": lambda _: reply([])}) as server, _api(server, slept, requests_per_minute=3) as api:
        for _ in range(5):
            api.ask(ApiRequest("v1/things"))
    # 3 in any minute: the fourth waits until the first is a minute old, the fifth for the second.
    assert [round(seconds) for seconds in slept] == [60, 60]


def test_a_page_that_comes_again_ends_the_pull_as_a_loop():
    page = {"data": [1, 2], "has_more": True, "next_page": "page_2"}
    with (
        api_server({"/v1/things": lambda _: reply(page)}) as server,
        pytest.raises(PermanentSourceError, match="page 2 is one that came before"),
    ):
        _pages(server)
    assert len(server.calls) == 2


def test_an_offset_that_the_server_ignores_is_a_loop():
    with (
        api_server({"/v1/things": lambda _: reply([1, 2])}) as server,
        pytest.raises(PermanentSourceError, match="page 2 is one that came before"),
    ):
        _pages(server, offset_pages("", 2))


def test_pages_without_end_end_at_the_limit():
    count = iter(range(99))

    def route(_: Call) -> Answer:
        return reply({"data": [], "has_more": True, "next_page": str(next(count))})

    with api_server({"/v1/things": route}) as server, pytest.raises(PermanentSourceError, match="5 pages and no end"):
        _pages(server, max_pages=5)
    assert len(server.calls) == 5


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_its_environment_variable_and_never_itself(status: int):
    said = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    with (
        api_server({"/v1/things": lambda _: reply(said, status)}) as server,
        pytest.raises(PermanentSourceError, match=f"status {status}") as raised,
    ):
        _pages(server)
    assert "Set the environment variable VENDOR_ADMIN_KEY" in str(raised.value)
    assert "Incorrect API key provided: ***" in str(raised.value)
    assert KEY not in str(raised.value)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply({"message": "group_by is unknown"}, 400), r"status 400 \(group_by is unknown\), expected 200"),
        (reply(b"nothing here", 404), "status 404, expected 200. Correct `url`"),
        (Answer(302, headers={"Location": "/elsewhere"}), "status 302, a redirect"),
    ],
)
def test_a_refusal_is_permanent_and_is_not_repeated(answer: Answer, words: str):
    with api_server({"/v1/things": lambda _: answer}) as server, pytest.raises(PermanentSourceError, match=words):
        _pages(server)
    assert len(server.calls) == 1


def test_an_answer_larger_than_allowed_is_permanent():
    http = QUICK.model_copy(update={"max_bytes": 100})
    with (
        api_server({"/v1/things": lambda _: reply(["x" * 101])}) as server,
        pytest.raises(PermanentSourceError, match="more than 100 bytes"),
    ):
        _pages(server, http=http)


def test_offset_pages_end_with_a_page_that_is_not_full():
    def route(call: Call) -> Answer:
        offset = int(call.param("offset", "0"))
        return reply({"rows": [1, 2, 3, 4, 5][offset : offset + 2]})

    with api_server({"/v1/things": route}) as server:
        pages = _pages(server, offset_pages("rows", 2))
    assert [page["rows"] for page in pages] == [[1, 2], [3, 4], [5]]


def test_numbered_pages_end_with_the_last_number():
    def route(call: Call) -> Answer:
        return reply({"data": call.param("page", "1"), "meta": {"totalPages": 3}})

    with api_server({"/v1/things": route}) as server:
        pages = _pages(server, numbered_pages("page", "meta.totalPages"))
    assert [page["data"] for page in pages] == ["1", "2", "3"]


def test_cursor_pages_begin_after_the_last_item():
    def route(call: Call) -> Answer:
        after = int(call.param("after", "0"))
        return reply({"data": [{"id": after + 1}, {"id": after + 2}], "has_more": after < 2})

    with api_server({"/v1/things": route}) as server:
        pages = _pages(server, cursor_pages("data", "id", "after", "has_more"))
    assert [[item["id"] for item in page["data"]] for page in pages] == [[1, 2], [3, 4]]


def test_linked_pages_are_followed_on_the_same_host_only():
    def route(call: Call) -> Answer:
        following = "http://127.0.0.1:9/v1/things" if call.param("page") == "2" else f"{server.url}/v1/things?page=2"
        return reply([call.param("page")], Link=f'<{following}>; rel="next"')

    with (
        api_server({"/v1/things": route}) as server,
        pytest.raises(PermanentSourceError, match=r"on another host, http://127.0.0.1:9/v1/things"),
    ):
        _pages(server, linked_pages)
    assert [call.params for call in server.calls] == [{}, {"page": ["2"]}]


def test_a_post_carries_its_token_in_the_body():
    def route(call: Call) -> Answer:
        token = call.json().get("next_token")
        return reply({"rows": [1] if token else [0], "next_token": None if token else "t"})

    with api_server({"/v1/things": route}) as server, _api(server) as api:
        request = ApiRequest("v1/things", method="POST", body={"query": "up"})
        pages = list(api.pages(request, token_pages("next_token", "next_token")))
    assert [page["rows"] for page in pages] == [[0], [1]]
    assert [call.json() for call in server.calls] == [{"query": "up"}, {"query": "up", "next_token": "t"}]


def test_a_query_repeats_the_name_of_a_sequence_and_leaves_out_what_is_none():
    with api_server({"/v1/things": lambda _: reply([])}) as server, _api(server) as api:
        params = query(**{"group_by[]": ["model", "api_key_id"], "limit": 1, "page": None})
        list(api.pages(ApiRequest("v1/things", params), single_page))
    assert server.calls[0].params == {"group_by[]": ["model", "api_key_id"], "limit": ["1"]}


def test_an_api_may_ask_for_no_key():
    options = ApiOptions.model_validate({"url": "http://127.0.0.1", "http": QUICK})
    with api_server({"/v1/things": lambda _: reply({}, 401)}) as server:
        asked = Api(options.model_copy(update={"url": server.url}), {})
        with asked as api, pytest.raises(PermanentSourceError, match="Set `key` to a key that may read this"):
            api.ask(ApiRequest("v1/things"))
    assert "authorization" not in server.calls[0].headers


def test_a_header_that_http_does_not_know_is_permanent_and_is_not_shown():
    with api_server({"/v1/things": lambda _: reply([])}) as server:
        options = ApiOptions.model_validate({"url": server.url, "http": QUICK})
        asked = Api(options, {"Authorization": SecretStr(f"Bearer {KEY}\n")})
        with asked as api, pytest.raises(PermanentSourceError, match="cannot be written as HTTP") as raised:
            api.ask(ApiRequest("v1/things"))
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert server.calls == []


def test_a_key_from_a_file_with_a_line_break_is_accepted():
    with api_server({"/v1/things": keyed("authorization", f"Bearer {KEY}", token_paged(_things))}) as server:
        assert len(_pages(server, key=EnvironmentText.of(f"{KEY}\n", ("VENDOR_ADMIN_KEY",)))) == 3


@pytest.mark.parametrize("wrong", [f"{KEY}\u2019", f"{KEY}\nsecond line", f"{KEY}\x00"])
def test_a_key_that_no_header_can_have_is_refused_by_the_name_of_its_variable(wrong: str):
    given = EnvironmentText.of(wrong, ("VENDOR_ADMIN_KEY",))
    with pytest.raises(ValidationError, match="environment variable VENDOR_ADMIN_KEY holds a character") as raised:
        ApiOptions.model_validate({"url": "https://host", "key": given})
    assert KEY not in str(raised.value)


def test_a_pause_between_tries_keeps_the_pace_too():
    slept = _Slept()
    with api_server({"/v1/things": lambda _: reply([])}) as server, _api(server, slept, requests_per_minute=1) as api:
        server.faults = [reply({}, 429, Retry_After="7")]
        api.ask(ApiRequest("v1/things"))
    assert [round(seconds) for seconds in slept] == [7, 60]


def test_the_port_that_a_scheme_has_anyway_is_the_same_host():
    with api_server({}) as server, _api(server, url="https://127.0.0.1") as api:
        assert api.address("https://127.0.0.1:443/v1") == "https://127.0.0.1:443/v1"
        with pytest.raises(PermanentSourceError, match="on another host"):
            api.address("https://127.0.0.1:444/v1")


def test_half_of_a_pair_of_surrogates_is_the_replacement_character():
    body = b'{"data": ["x \\ud83d", "\\ud83d\\ude00", "\\\\ud83d"], "\\udc00": 1, "has_more": false}'
    with api_server({"/v1/things": lambda _: Answer(body=body)}) as server:
        [page] = _pages(server)
    assert page == {"data": ["x \ufffd", "\U0001f600", "\\ud83d"], "\ufffd": 1, "has_more": False}


class _WithSecret(BaseModel):
    key: Secret


def test_a_secret_shows_stars_and_must_come_from_the_environment():
    from_environment = EnvironmentText.of(KEY, ("VENDOR_ADMIN_KEY",))
    made = _WithSecret.model_validate({"key": from_environment}, context={"config_dir": "here"})
    assert KEY not in f"{made!r} {made} {made.model_dump_json()}"
    with pytest.raises(ValidationError, match="a secret does not stand in the file"):
        _WithSecret.model_validate({"key": KEY}, context={"config_dir": "here"})
    with pytest.raises(ValidationError, match="environment variable VENDOR_ADMIN_KEY is empty"):
        _WithSecret.model_validate({"key": EnvironmentText.of(" ", ("VENDOR_ADMIN_KEY",))})


@pytest.mark.parametrize("url", ["ftp://host", "host/v1", "https://user:pw@host", "https://host?key=1"])
def test_an_api_has_an_address_without_secrets(url: str):
    with pytest.raises(ValidationError, match="expected an http:// or https:// address"):
        ApiOptions(url=url, key=KEY)  # type: ignore[arg-type]
