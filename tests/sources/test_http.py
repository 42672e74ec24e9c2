"""Fetching: what is unchanged is not sent again, what fails is tried again, what is broken is not kept as whole."""

import gzip
import hashlib
import json
import os
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr, ValidationError

from dagster_project.errors import PermanentSourceError, TransientSourceError
from dagster_project.sources._http import Deadline, HttpOptions, fetch, public_url, retried
from dagster_project.sources.litellm_prices import LitellmPricesOptions
from dagster_project.warehouse.landing import SourceFailure
from tests.sources.pulling import NOW, Pulled, pull
from tests.sources.web import Answer, Web, serving

QUICK = HttpOptions(timeout_seconds=5, pause_seconds=0, attempt_count=3)
TODAY = date(2026, 10, 1)
FEB = "Sun, 01 Feb 2026 00:00:00 GMT"


def _prices(usd: str) -> bytes:
    return f'{{"gpt-5": {{"litellm_provider": "openai", "input_cost_per_token": {usd}}}}}'.encode()


def _fetched(web: Web, folder: Path, options: HttpOptions = QUICK) -> tuple[Path, list[float]]:
    pauses: list[float] = []
    fetched = fetch(web.url, folder, options, today=TODAY, sleep=pauses.append)
    return folder / fetched.file_name, pauses


def test_fetch_keeps_the_content_under_its_hash(tmp_path: Path):
    with serving(Answer(body=b"[]")) as web:
        path, pauses = _fetched(web, tmp_path / "new")
    assert path.read_bytes() == b"[]"
    assert path.name == f"{hashlib.sha256(b'[]').hexdigest()[:32]}.json"
    assert pauses == []


def test_fetch_asks_with_what_the_server_called_the_version_and_reuses_the_file(tmp_path: Path):
    named = Answer(body=b"[1]", headers={"ETag": '"one"', "Last-Modified": FEB})
    with serving(named, Answer(304)) as web:
        first, _ = _fetched(web, tmp_path)
        second, _ = _fetched(web, tmp_path)
    assert first == second
    assert "if-none-match" not in web.requests[0]
    assert (web.requests[1]["if-none-match"], web.requests[1]["if-modified-since"]) == ('"one"', FEB)


def test_fetch_asks_for_all_of_it_again_when_the_kept_file_is_damaged(tmp_path: Path):
    with serving(Answer(body=b"[1]", headers={"ETag": '"one"'})) as web:
        path, _ = _fetched(web, tmp_path)
        path.write_bytes(b"[1")
        again, _ = _fetched(web, tmp_path)
    assert again.read_bytes() == b"[1]"
    assert "if-none-match" not in web.requests[1]


def test_fetch_gives_the_changed_content_and_keeps_the_former(tmp_path: Path):
    with serving(Answer(body=b"[1]", headers={"ETag": '"one"'}), Answer(body=b"[2]")) as web:
        first, _ = _fetched(web, tmp_path)
        second, _ = _fetched(web, tmp_path)
    assert (first.read_bytes(), second.read_bytes()) == (b"[1]", b"[2]")


def test_fetch_dates_content_by_the_day_on_which_it_first_came(tmp_path: Path):
    days = [date(2026, 10, day) for day in (1, 2, 3, 4)]
    with serving(Answer(body=b"[1]"), Answer(body=b"[1]"), Answer(body=b"[2]"), Answer(body=b"[1]")) as web:
        found = [fetch(web.url, tmp_path, QUICK, today=day).fetched_date for day in days]
    assert found == ["2026-10-01", "2026-10-01", "2026-10-03", "2026-10-04"]


def test_fetch_tries_again_after_a_server_error(tmp_path: Path):
    with serving(Answer(500), Answer(503), Answer(body=b"[]")) as web:
        path, pauses = _fetched(web, tmp_path)
    assert path.read_bytes() == b"[]"
    assert len(web.requests) == 3
    assert len(pauses) == 2


def test_fetch_waits_twice_as_long_each_time_with_jitter_and_as_long_as_it_is_asked_to(tmp_path: Path):
    options = HttpOptions(timeout_seconds=5, pause_seconds=8, attempt_count=4)
    with serving(Answer(500), Answer(429, headers={"Retry-After": "7"}), Answer(500), Answer(body=b"[]")) as web:
        _, pauses = _fetched(web, tmp_path, options)
    # 8 s, then what the server asks for, then 8 x 2 x 2 = 32 s; half of it or more each time.
    assert 4 <= pauses[0] <= 8
    assert pauses[1] == 7
    assert 16 <= pauses[2] <= 32


def test_fetch_never_waits_longer_than_a_minute(tmp_path: Path):
    with serving(Answer(429, headers={"Retry-After": "86400"}), Answer(body=b"[]")) as web:
        _, pauses = _fetched(web, tmp_path)
    assert pauses == [60]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(500), "3 times: status 500"),
        (Answer(body=b"[1, 2", announced_bytes=6), "3 times: "),
        (Answer(body=gzip.compress(b"[]" * 99)[:20], headers={"Content-Encoding": "gzip"}), "ends early"),
        (Answer(body=b"[1, 2]", headers={"Content-Encoding": "gzip"}), "is damaged"),
    ],
    ids=["server error", "truncated", "truncated in compression", "not compressed"],
)
def test_fetch_gives_up_on_what_does_not_come_whole(tmp_path: Path, answer: Answer, words: str):
    with serving(answer) as web, pytest.raises(TransientSourceError, match=words):
        _fetched(web, tmp_path)
    assert len(web.requests) == 3
    assert list(tmp_path.iterdir()) == []


def test_fetch_decompresses_and_keeps_what_was_compressed(tmp_path: Path):
    with serving(Answer(body=gzip.compress(b"[]"), headers={"Content-Encoding": "gzip"})) as web:
        path, _ = _fetched(web, tmp_path)
    assert path.read_bytes() == b"[]"


def test_fetch_reads_every_member_of_compressed_content(tmp_path: Path):
    body = gzip.compress(b"[1,") + gzip.compress(b"2]")
    with serving(Answer(body=body, headers={"Content-Encoding": "gzip"})) as web:
        path, _ = _fetched(web, tmp_path)
    assert path.read_bytes() == b"[1,2]"


@pytest.mark.parametrize("compression", ["identity", "gzip"])
def test_fetch_bounds_content_that_trickles(tmp_path: Path, compression: str):
    options = HttpOptions(timeout_seconds=1, total_seconds=0.2, pause_seconds=0, attempt_count=3)
    text = b'"%s"' % os.urandom(100).hex().encode()
    body = gzip.compress(text) if compression == "gzip" else text
    slow = Answer(body=body, byte_seconds=0.1, headers={"Content-Encoding": compression})
    started = time.monotonic()
    with serving(slow) as web, pytest.raises(TransientSourceError, match=r"1 time: no whole answer after 0\.2 s"):
        _fetched(web, tmp_path, options)
    # The 202 bytes take 20 seconds, compressed to 100 at least ten.
    assert time.monotonic() - started < 5


def test_fetch_makes_no_try_whose_pause_would_outlast_the_time_for_all(tmp_path: Path):
    options = HttpOptions(total_seconds=30, attempt_count=4)
    with (
        serving(Answer(429, headers={"Retry-After": "31"})) as web,
        pytest.raises(TransientSourceError, match="1 time:"),
    ):
        _fetched(web, tmp_path, options)
    assert len(web.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 504, 507, 520, 522, 524, 529, 598])
def test_fetch_tries_again_after_any_failure_of_the_server(tmp_path: Path, status: int):
    with serving(Answer(status), Answer(body=b"[]")) as web:
        path, _ = _fetched(web, tmp_path)
    assert path.read_bytes() == b"[]"


@pytest.mark.parametrize("status", [501, 505])
def test_fetch_does_not_repeat_what_the_server_does_not_know(tmp_path: Path, status: int):
    with serving(Answer(status)) as web, pytest.raises(PermanentSourceError, match=f"status {status}"):
        _fetched(web, tmp_path)
    assert len(web.requests) == 1


def test_a_transport_error_is_shown_without_secrets():
    def once(_: Deadline) -> None:
        msg = "cannot connect with sk-secret"
        raise httpx2.ConnectError(msg)

    options = HttpOptions(attempt_count=1)
    with pytest.raises(TransientSourceError, match=r"cannot connect with \*\*\*\."):
        retried(once, "Asked it", "pull again.", options, time.sleep, secrets=[SecretStr("sk-secret")])


def test_fetch_gives_up_on_a_server_that_is_silent(tmp_path: Path):
    options = HttpOptions(timeout_seconds=0.2, pause_seconds=0, attempt_count=2)
    with serving(Answer(is_silent=True)) as web, pytest.raises(TransientSourceError, match="2 times"):
        _fetched(web, tmp_path, options)
    assert len(web.requests) == 2


def test_fetch_gives_up_when_nobody_answers(tmp_path: Path):
    with serving(Answer()) as web:
        pass
    with pytest.raises(TransientSourceError, match=r"Fetched http://127\.0\.0\.1:"):
        _fetched(web, tmp_path)


@pytest.mark.parametrize("status", [401, 404, 304])
def test_fetch_does_not_repeat_what_the_server_refuses(tmp_path: Path, status: int):
    with serving(Answer(status)) as web, pytest.raises(PermanentSourceError, match=f"status {status}"):
        _fetched(web, tmp_path)
    assert len(web.requests) == 1


def test_fetch_refuses_more_than_it_may_take_and_leaves_nothing(tmp_path: Path):
    options = HttpOptions(max_bytes=10)
    with serving(Answer(body=b"x" * 11)) as web, pytest.raises(PermanentSourceError, match="more than 10 bytes"):
        _fetched(web, tmp_path, options)
    assert list(tmp_path.iterdir()) == []
    with serving(Answer(body=b"x" * 10)) as web:
        assert _fetched(web, tmp_path, options)[0].stat().st_size == 10


def test_public_url_shows_no_secret():
    assert public_url("https://me:secret@prices.test:8443/a/b.json?key=secret#c") == "https://prices.test:8443/a/b.json"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either `path`"),
        ({"path": "a.json", "url": "https://prices.test/a"}, "either `path`"),
        ({"url": "ftp://prices.test/a"}, "http:// or https://"),
        ({"url": "prices.test/a"}, "http:// or https://"),
        ({"url": "https://prices.test/a", "http": {"attempt_count": 0}}, "greater than or equal to 1"),
    ],
)
def test_located_source_has_one_place(options: dict[str, Any], words: str):
    with pytest.raises(ValidationError, match=words):
        LitellmPricesOptions.model_validate({"name": "a", "kind": "litellm_prices", **options})


# ---- a catalogue behind a URL


def _pull(web: Web, folder: Path, day: float = 0, kind: str = "litellm_prices", **options: str) -> Pulled:
    http = {"timeout_seconds": 5, "pause_seconds": 0, "attempt_count": 2}
    return pull(folder, kind, now=NOW + timedelta(days=day), url=web.url, http=http, **options)


def _in_force(pulled: Pulled) -> list[str]:
    """The hashes of the rates' inputs that are current."""
    return [item.input_sha256 for item in pulled.zone.current("litellm_prices") if item.entity == "rates"]


def test_url_lands_as_its_file_and_not_again_when_unchanged(tmp_path: Path):
    body = _prices("0.000002")
    with serving(Answer(body=body, headers={"ETag": '"one"'}), Answer(304)) as web:
        first = _pull(web, tmp_path)
        second = _pull(web, tmp_path, day=1)
    rates = first.landings()["rates"]
    assert (rates.input_uri, rates.input_sha256) == (web.url, hashlib.sha256(body).hexdigest())
    assert [str(row["unit_price"]) for row in first.rows("rates")] == ["0.000002000000000"]
    assert second.results == first.results


@pytest.mark.parametrize(
    ("answer", "is_transient", "words"),
    [
        (Answer(500), True, "status 500"),
        (Answer(404), False, "status 404"),
        (Answer(body=_prices("0.000003")[:-1]), False, "not valid JSON"),
        (Answer(body=b"<html>Sorry</html>"), False, "not valid JSON"),
        (Answer(body=b"[]"), False, "expected a JSON object of models"),
        (Answer(body=b'{"error": "quota"}'), False, "none of its 1 entries has a price"),
    ],
    ids=["server error", "gone", "cut", "another format", "a list", "no prices"],
)
def test_last_good_version_stays_when_the_next_one_is_bad(
    tmp_path: Path, answer: Answer, is_transient: bool, words: str
):
    good = Answer(body=_prices("0.000002"))
    with serving(good, answer, answer) as web:
        first = _pull(web, tmp_path).landings()["rates"].input_sha256
        second = _pull(web, tmp_path, day=1)
        assert _in_force(second) == [first]
        web.answers[:] = [Answer(body=_prices("0.000003"))]
        third = _pull(web, tmp_path, day=2).landings()["rates"].input_sha256
    # The bad one left no version behind: the first, and from the third day the third.
    assert _in_force(second) == [first, third]
    assert third == hashlib.sha256(_prices("0.000003")).hexdigest()
    failure = second.failure
    assert words in failure.message
    assert failure.is_transient == is_transient
    assert failure.last_good_at == NOW


def test_without_a_good_version_nothing_stands_in(tmp_path: Path):
    with serving(Answer(500)) as web:
        failure = _pull(web, tmp_path).failure
    assert isinstance(failure, SourceFailure)
    assert failure.last_good_at is None


def test_note_of_a_url_names_no_secret(tmp_path: Path):
    with serving(Answer(body=b"[]", headers={"ETag": '"one"'})) as web:
        fetch(f"{web.url}?key=secret", tmp_path, QUICK, today=TODAY)
    texts = [path.name + path.read_text(encoding="utf-8") for path in tmp_path.iterdir()]
    assert json.loads(next(tmp_path.glob("*.note")).read_text(encoding="utf-8"))["etag"] == '"one"'
    assert not any("secret" in text for text in texts)


def test_damaged_note_is_reported_and_not_taken_for_a_first_fetch(tmp_path: Path):
    with serving(Answer(body=b"[]")) as web:
        _fetched(web, tmp_path)
        [note] = tmp_path.glob("*.note")
        note.write_text("{}")
        with pytest.raises(PermanentSourceError, match=r"expected a complete note\. Restore it, or delete it"):
            _fetched(web, tmp_path)


# ---- versions of a catalogue without dates behind a URL

ONE, TWO, THREE = (Answer(body=_prices(f"0.00000{number}")) for number in (1, 2, 3))
BROKEN = Answer(body=_prices("0.000009")[:-1])


def _october(day: int) -> datetime:
    return datetime(2026, 10, day, tzinfo=UTC)


def _versions(pulled: Pulled, web: Web) -> set[tuple[str, datetime | None, datetime, Decimal]]:
    """What is current: the input's name after the URL, when its rate holds from and was known from, USD per million."""
    landings = [item for item in pulled.zone.current("litellm_prices") if item.entity == "rates"]
    return {
        (
            item.input_uri.removeprefix(web.url),
            row["valid_from"],
            row["known_from"],
            row["unit_price"] * 1_000_000,
        )
        for item in landings
        for file in item.files
        for row in pq.read_table(file.path, partitioning=None).to_pylist()
    }


FIRST = ("", None, NOW, Decimal(1))


def _dated(day: int, usd_per_million: int) -> tuple[str, datetime, datetime, Decimal]:
    return (f"@2026-10-{day:02}", _october(day), _october(day), Decimal(usd_per_million))


def test_changed_price_holds_from_the_day_on_which_it_was_fetched(tmp_path: Path):
    with serving(ONE, TWO) as web:
        assert _versions(_pull(web, tmp_path), web) == {FIRST}
        # NOW is 1 October, 0:00 UTC; a day and three quarters later it is 2 October, 18:00 UTC.
        assert _versions(_pull(web, tmp_path, day=1.75), web) == {FIRST, _dated(2, 2)}
        # The same content without a name from the server adds nothing, whenever it comes.
        again = _pull(web, tmp_path, day=5)
    assert len(web.requests) == 3
    assert _versions(again, web) == {FIRST, _dated(2, 2)}


def test_unchanged_content_adds_no_version(tmp_path: Path):
    with serving(ONE, Answer(body=TWO.body, headers={"ETag": '"two"'}), Answer(304)) as web:
        for day in range(4):
            pulled = _pull(web, tmp_path, day=day)
    assert web.requests[3]["if-none-match"] == '"two"'
    assert _versions(pulled, web) == {FIRST, _dated(2, 2)}


def test_content_that_changes_back_is_a_version_of_its_own(tmp_path: Path):
    with serving(ONE, TWO, ONE, TWO) as web:
        for day in (0, 1, 2, 3):
            pulled = _pull(web, tmp_path, day=day)
    assert _versions(pulled, web) == {FIRST, _dated(2, 2), _dated(3, 1), _dated(4, 2)}


def test_last_change_of_a_day_stands_for_the_day(tmp_path: Path):
    with serving(ONE, TWO, THREE) as web:
        for day in (0, 1, 1.5):
            pulled = _pull(web, tmp_path, day=day)
    assert _versions(pulled, web) == {FIRST, _dated(2, 3)}


def test_change_on_the_first_day_leaves_the_past_to_the_first_version(tmp_path: Path):
    with serving(ONE, TWO) as web:
        _pull(web, tmp_path)
        pulled = _pull(web, tmp_path, day=0.5)
    assert _versions(pulled, web) == {FIRST, _dated(1, 2)}


def test_change_that_is_undone_on_its_day_is_no_version(tmp_path: Path):
    with serving(ONE, TWO, ONE) as web:
        for day in (0, 1, 1.5):
            pulled = _pull(web, tmp_path, day=day)
    assert _versions(pulled, web) == {FIRST}


def test_clock_that_runs_behind_does_not_put_a_version_before_an_older_one(tmp_path: Path):
    with serving(ONE, TWO, THREE) as web:
        for day in (0, 4, 2):
            pulled = _pull(web, tmp_path, day=day)
    assert _versions(pulled, web) == {FIRST, _dated(5, 3)}


def test_broken_body_is_reported_while_it_is_the_latest_and_never_becomes_a_version(tmp_path: Path):
    broken = Answer(body=BROKEN.body, headers={"ETag": '"broken"'})
    with serving(ONE, TWO, broken, Answer(304), THREE) as web:
        for day in (0, 1):
            _pull(web, tmp_path, day=day)
        # Broken later on the day of a good change, and unchanged a day after.
        for day in (1.5, 2):
            pulled = _pull(web, tmp_path, day=day)
            assert "not valid JSON" in pulled.failure.message
            assert pulled.failure.last_good_at == _october(2)
            assert _versions(pulled, web) == {FIRST, _dated(2, 2)}
        pulled = _pull(web, tmp_path, day=3)
    assert web.requests[3]["if-none-match"] == '"broken"'
    assert _versions(pulled, web) == {FIRST, _dated(2, 2), _dated(4, 3)}


def test_first_content_that_can_be_read_is_the_first_version(tmp_path: Path):
    with serving(BROKEN, ONE) as web:
        assert _pull(web, tmp_path, day=-1).failure.last_good_at is None
        pulled = _pull(web, tmp_path)
    assert _versions(pulled, web) == {FIRST}


def test_damaged_file_of_a_version_is_reported_and_what_it_landed_stays(tmp_path: Path):
    with serving(ONE, TWO, THREE) as web:
        for day in (0, 1):
            _pull(web, tmp_path, day=day)
        digest = hashlib.sha256(TWO.body).hexdigest()[:32]
        [path] = (tmp_path / "landing" / "_fetched").glob(f"{digest}*")
        path.write_bytes(_prices("0.000009"))
        pulled = _pull(web, tmp_path, day=2)
    [failure] = [item for item in pulled.results if isinstance(item, SourceFailure)]
    assert failure.input_uri == f"{web.url}@2026-10-02"
    assert "is not what was fetched" in failure.message
    assert _versions(pulled, web) == {FIRST, _dated(2, 2), _dated(3, 3)}


def test_configured_date_is_the_first_versions(tmp_path: Path):
    with serving(ONE, TWO) as web:
        _pull(web, tmp_path, known_from="2026-01-01")
        pulled = _pull(web, tmp_path, day=1, known_from="2026-01-01")
    january = datetime(2026, 1, 1, tzinfo=UTC)
    assert _versions(pulled, web) == {("", january, january, Decimal(1)), _dated(2, 2)}


def test_catalogue_with_dates_of_its_own_keeps_the_latest_content_only(tmp_path: Path):
    def catalogue(usd: int) -> Answer:
        history = [{"input": usd, "from_date": None, "to_date": None}]
        model = {"id": "gpt-5", "name": "GPT-5", "price_history": history}
        return Answer(body=json.dumps({"vendor": "openai", "models": [model]}).encode())

    with serving(catalogue(1), catalogue(2)) as web:
        _pull(web, tmp_path, kind="llm_prices")
        pulled = _pull(web, tmp_path, day=1, kind="llm_prices")
    [landing] = pulled.zone.current("llm_prices")
    assert landing.input_uri == web.url
    assert [row["unit_price"] for row in pulled.rows()] == [Decimal("0.000002")]
