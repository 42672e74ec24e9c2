"""LiteLLM's spend logs from a real PostgreSQL: what a row says, rows that commit late, what is asked for again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.errors import ConfigurationError
from dagster_project.settings import load_settings
from dagster_project.sources import discover
from dagster_project.sources._connector import PullContext, hashed_user
from dagster_project.warehouse.landing import Landing, LandingZone, SourceFailure, pull_source
from tests.sources.postgres import PASSWORD, Postgres
from tests.sources.pulling import FIXTURES

FOLDER = FIXTURES / "litellm_spend_logs"
KIND = "litellm_spend_logs"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TABLE = '"LiteLLM_SpendLogs"'
COLUMNS = {
    "use_case_id": "tags.use_case",
    "use_case_instance_id": "tags.instance",
    "step_name": "metadata.spend_logs_metadata.step",
}


@dataclass
class Proxy:
    """The database of a LiteLLM proxy."""

    postgres: Postgres
    connection: psycopg.Connection

    def write(self, row: dict[str, Any], connection: psycopg.Connection | None = None) -> None:
        """Insert a row as the proxy does."""
        names = ", ".join(f'"{name}"' for name in row)
        places = ", ".join(["%s"] * len(row))
        values = [json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()]
        (connection or self.connection).execute(f"insert into {TABLE} ({names}) values ({places})", values)

    def call(
        self, request_id: str, start_at: str, connection: psycopg.Connection | None = None, **others: object
    ) -> None:
        """Insert a plain call of 10 input and 5 output tokens."""
        tokens = {"total_tokens": 15, "prompt_tokens": 10, "completion_tokens": 5}
        times = {"startTime": start_at, "endTime": start_at}
        row = {"request_id": request_id, "call_type": "acompletion", **tokens, **times, "model": "gpt-4o", **others}
        self.write(row, connection)


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    with postgres.connect() as connection:
        connection.execute(f"drop table if exists {TABLE}")
        connection.execute((FOLDER / "schema.sql").read_text(encoding="utf-8"))
        yield Proxy(postgres, connection)


def _pull(
    folder: Path, proxy: Proxy, now: datetime = NOW, *, url: str = "", hash_key: bytes | None = None, **options: object
) -> list[Landing | SourceFailure]:
    connector = discover()[KIND]
    database = {"url": url or proxy.postgres.url(), "attempt_count": 1, "connect_timeout_seconds": 2}
    given = {"name": "proxy", "kind": KIND, "database": database, **options}
    zone = LandingZone(folder / "landing", hash_key=hash_key)
    return pull_source(zone, connector, connector.options.model_validate(given), now=now)


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Everything that has landed, by call."""
    landings = LandingZone(folder / "landing").current(KIND)
    tables = [pq.read_table(file.path, partitioning=None) for item in landings for file in item.files]
    return {row["call_id"]: row for row in (pa.concat_tables(tables).to_pylist() if tables else [])}


def _new(results: list[Landing | SourceFailure], now: datetime) -> list[str]:
    """The days that landed in a pull."""
    assert all(isinstance(item, Landing) for item in results), results
    return [item.input_uri.partition("#")[2] for item in results if isinstance(item, Landing) and item.landed_at == now]


@pytest.fixture
def recorded(proxy: Proxy, tmp_path: Path) -> dict[str, dict[str, Any]]:
    for line in (FOLDER / "rows.jsonl").read_text(encoding="utf-8").splitlines():
        proxy.write(json.loads(line))
    _pull(tmp_path, proxy, columns=COLUMNS, hash_key=b"key")
    return _rows(tmp_path)


def test_a_row_becomes_a_call_with_its_usage_block(recorded: dict[str, dict[str, Any]]):
    call = recorded["chatcmpl-1"]
    assert call["event_at"] == datetime(2026, 11, 18, 9, tzinfo=UTC)
    assert (call["provider_name"], call["model_name"], call["requested_model_name"]) == (
        "openai", "gpt-4o-2024-08-06", "gpt-4o",
    )  # fmt: skip
    assert (call["dialect_type"], call["operation_name"], call["is_usage_record"]) == ("litellm", "chat", True)
    usage = json.loads(call["usage_json"])
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (1445, 1024)
    # 09:00:00.000 to 09:00:02.500, the first token at 09:00:00.400.
    assert (call["latency_ms"], call["time_to_first_token_ms"]) == (2500.0, 400.0)
    assert (call["team_name"], call["conversation_id"], call["is_success"]) == ("support", "conv-9", True)


def test_tags_and_metadata_say_to_which_use_case_a_call_belongs(recorded: dict[str, dict[str, Any]]):
    call = recorded["chatcmpl-1"]
    assert (call["use_case_id"], call["use_case_instance_id"], call["step_name"]) == (
        "support_chat", "ticket-9", "answer",
    )  # fmt: skip
    assert recorded["chatcmpl-2"]["use_case_id"] is None


def test_a_row_of_an_older_proxy_has_its_usage_in_columns(recorded: dict[str, dict[str, Any]]):
    call = recorded["chatcmpl-2"]
    assert json.loads(call["usage_json"]) == {
        "prompt_tokens": 1000, "completion_tokens": 210, "total_tokens": 1210,
        "prompt_tokens_details": {"cached_tokens": 400},
    }  # fmt: skip
    assert (call["provider_name"], call["model_name"]) == ("azure.ai.openai", "gpt-4.1")
    assert (call["is_spillover"], call["spillover_from_deployment_id"]) == (True, "ptu-1")
    # Nothing was streamed: the row has no instant of a first token.
    assert (call["latency_ms"], call["time_to_first_token_ms"]) == (1000.0, None)


def test_what_the_proxy_answered_from_its_cache_used_nothing(recorded: dict[str, dict[str, Any]]):
    usage = json.loads(recorded["chatcmpl-3_cache_hit1763460000.5"]["usage_json"])
    assert usage == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_columns_of_zeros_are_an_unknown_use_and_not_none(recorded: dict[str, dict[str, Any]]):
    image = recorded["img-1"]
    assert (image["usage_json"], image["operation_name"]) == (None, "image_generation")
    assert json.loads(image["attributes_json"])["spend_usd"] == 0.04


def test_failures_and_tool_calls_are_told_apart_from_calls(recorded: dict[str, dict[str, Any]]):
    assert (recorded["fail-1"]["is_success"], recorded["fail-1"]["error_type"]) == (False, "RateLimitError")
    assert recorded["mcp-1"]["is_usage_record"] is False
    assert recorded["fail-1"]["is_usage_record"] is True


def test_users_land_as_pseudonyms_and_words_not_at_all(
    recorded: dict[str, dict[str, Any]], tmp_path: Path, proxy: Proxy
):
    # The end user comes before the user of the key; HMAC-SHA256 of both under the company's key.
    assert recorded["chatcmpl-1"]["user_id"] == hashed_user("ada@example.com", b"key")
    assert recorded["chatcmpl-2"]["user_id"] == hashed_user("u-18", b"key")
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + str(recorded).encode()
    for word in (b"SECRET", b"ada@example", b"10.0.0.7", PASSWORD.encode()):
        assert word not in everything
    _pull(tmp_path / "kept", proxy, keep_user_ids=True)
    assert _rows(tmp_path / "kept")["chatcmpl-1"]["user_id"] == "ada@example.com"


def test_an_input_is_a_day_and_its_name_has_no_secret(proxy: Proxy, tmp_path: Path):
    proxy.call("a", "2026-11-18 23:59:59.999")
    proxy.call("b", "2026-11-19 00:00:00")
    results = _pull(tmp_path, proxy)
    address = f"postgresql://127.0.0.1:{proxy.postgres.port}/postgres/public.LiteLLM_SpendLogs"
    assert [(item.input_uri, item.rows_landed) for item in results if isinstance(item, Landing)] == [
        (f"{address}#2026-11-18", 1), (f"{address}#2026-11-19", 1), (f"{address}#2026-11-20", 0),
    ]  # fmt: skip


def test_a_row_that_commits_after_later_rows_were_read_is_not_missed(proxy: Proxy, tmp_path: Path):
    with proxy.postgres.connect(autocommit=False) as slow:
        # Begun and inserted before the others, committed after they have been read.
        proxy.call("late", "2026-11-18 08:00:00", slow)
        proxy.call("early", "2026-11-18 09:00:00")
        proxy.call("next_day", "2026-11-19 09:00:00")
        _pull(tmp_path, proxy)
        assert set(_rows(tmp_path)) == {"early", "next_day"}
        slow.commit()
    later = NOW + timedelta(hours=1)
    assert _new(_pull(tmp_path, proxy, later), later) == ["2026-11-18"]
    assert set(_rows(tmp_path)) == {"late", "early", "next_day"}


def test_a_corrected_row_is_read_anew_and_an_unchanged_day_is_not(proxy: Proxy, tmp_path: Path):
    proxy.call("a", "2026-11-18 09:00:00")
    proxy.call("b", "2026-11-19 09:00:00")
    _pull(tmp_path, proxy)
    again = NOW + timedelta(hours=1)
    assert _new(_pull(tmp_path, proxy, again), again) == []
    proxy.connection.execute(f"update {TABLE} set completion_tokens = 7, total_tokens = 17 where request_id = 'b'")
    corrected = NOW + timedelta(hours=2)
    assert _new(_pull(tmp_path, proxy, corrected), corrected) == ["2026-11-19"]
    assert json.loads(_rows(tmp_path)["b"]["usage_json"])["completion_tokens"] == 7


def test_a_day_is_looked_at_until_an_answer_after_its_lookback(proxy: Proxy, tmp_path: Path):
    proxy.call("a", "2026-11-18 09:00:00")
    _pull(tmp_path, proxy, lookback_days=2)
    # 18 November ends on the 19th and is looked at until the 21st; the pipeline stood still over that day.
    proxy.call("b", "2026-11-18 10:00:00")
    after = datetime(2026, 11, 25, tzinfo=UTC)
    assert "2026-11-18" in _new(_pull(tmp_path, proxy, after, lookback_days=2), after)
    proxy.call("c", "2026-11-18 11:00:00")
    last = datetime(2026, 11, 26, tzinfo=UTC)
    assert "2026-11-18" not in _new(_pull(tmp_path, proxy, last, lookback_days=2), last)
    assert set(_rows(tmp_path)) == {"a", "b"}


def test_what_the_proxy_deleted_stays_in_the_ledger(proxy: Proxy, tmp_path: Path):
    proxy.call("a", "2026-11-10 09:00:00")
    proxy.call("b", "2026-11-19 09:00:00")
    _pull(tmp_path, proxy, lookback_days=30, retention_days=7)
    assert set(_rows(tmp_path)) == {"b"}
    _pull(tmp_path, proxy, lookback_days=30)
    proxy.connection.execute(f"""delete from {TABLE} where "startTime" < '2026-11-13'""")
    _pull(tmp_path, proxy, NOW + timedelta(hours=1), lookback_days=30)
    assert set(_rows(tmp_path)) == {"a", "b"}


def test_a_full_pull_gives_the_same_rows_as_many_small_ones(proxy: Proxy, tmp_path: Path):
    for hour in range(48):
        day, of_day = divmod(hour, 24)
        proxy.call(f"call-{hour}", f"2026-11-{18 + day} {of_day:02}:30:00")
        if hour % 12 == 0:
            _pull(tmp_path / "small", proxy, datetime(2026, 11, 18, tzinfo=UTC) + timedelta(hours=hour))
    _pull(tmp_path / "small", proxy)
    _pull(tmp_path / "whole", proxy)
    stamps = {"landed_at": None}
    small = {name: row | stamps for name, row in _rows(tmp_path / "small").items()}
    assert small == {name: row | stamps for name, row in _rows(tmp_path / "whole").items()}
    assert len(small) == 48


def test_a_new_column_is_kept_beside_the_call_unless_it_may_hold_words(proxy: Proxy, tmp_path: Path):
    proxy.connection.execute(f"alter table {TABLE} add column tenant text, add column transcript jsonb")
    proxy.call("a", "2026-11-18 09:00:00", tenant="north", transcript={"said": "SECRET"})
    _pull(tmp_path, proxy)
    attributes = json.loads(_rows(tmp_path)["a"]["attributes_json"])
    assert attributes["tenant"] == "north"
    assert "SECRET" not in str(attributes)


def test_a_table_that_lacks_a_column_stops_the_source_and_says_which(proxy: Proxy, tmp_path: Path):
    proxy.connection.execute(f"alter table {TABLE} drop column prompt_tokens")
    [failure] = _pull(tmp_path, proxy)
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "has no column prompt_tokens" in failure.message


def test_a_count_that_is_no_number_rejects_its_row_alone(proxy: Proxy, tmp_path: Path):
    proxy.call("good", "2026-11-18 09:00:00")
    proxy.call("bad", "2026-11-18 10:00:00", metadata={"usage_object": {"prompt_tokens": "many", "total_tokens": 5}})
    results = _pull(tmp_path, proxy)
    first = next(item for item in results if isinstance(item, Landing))
    assert (first.rows_landed, first.rows_rejected) == (1, 1)
    assert set(_rows(tmp_path)) == {"good"}


def test_a_refused_password_is_permanent_and_names_the_variable(proxy: Proxy, tmp_path: Path):
    config = tmp_path / "company.yaml"
    config.write_text(
        "organization: Example\nstart_date: 2026-11-01\nsources:\n"
        "  - {name: proxy, kind: litellm_spend_logs, database: {url: '${PROXY_DATABASE}', attempt_count: 1}}\n",
        encoding="utf-8",
    )
    environ = {"PROXY_DATABASE": proxy.postgres.url(password="wr0ng-pass")}  # noqa: S106 - it is refused
    settings = load_settings(config_path=config, state_dir=tmp_path / "state", environ=environ)
    [options] = settings.sources
    zone = LandingZone(settings.landing_dir)
    [failure] = pull_source(zone, discover()[KIND], options, now=NOW)
    assert isinstance(failure, SourceFailure)
    assert not failure.is_transient
    assert "password authentication failed" in failure.message
    assert "the environment variable PROXY_DATABASE" in failure.message
    assert "wr0ng-pass" not in failure.message + repr(options) + options.model_dump_json()


def test_a_server_that_is_away_is_transient(proxy: Proxy, tmp_path: Path):
    [failure] = _pull(tmp_path, proxy, url="postgresql://ledger:pass@127.0.0.1:1/postgres")
    assert isinstance(failure, SourceFailure)
    assert failure.is_transient
    assert "127.0.0.1:1/postgres" in failure.message


def test_a_statement_that_takes_too_long_is_transient_and_leaves_what_landed(proxy: Proxy, tmp_path: Path):
    proxy.call("a", "2026-11-18 09:00:00")
    _pull(tmp_path, proxy)
    database = {"url": proxy.postgres.url(), "statement_timeout_seconds": 1}
    connector = discover()[KIND]
    options = connector.options.model_validate({"name": "proxy", "kind": KIND, "database": database})
    with proxy.postgres.connect(autocommit=False) as other:
        other.execute(f"lock table {TABLE} in access exclusive mode")
        results = pull_source(LandingZone(tmp_path / "landing"), connector, options, now=NOW + timedelta(hours=1))
    assert all(isinstance(item, SourceFailure) and item.is_transient for item in results)
    assert "statement timeout" in str(results[0])
    assert set(_rows(tmp_path)) == {"a"}


def test_a_url_with_another_tools_parameters_is_understood(proxy: Proxy, tmp_path: Path):
    proxy.call("a", "2026-11-19 09:00:00")
    results = _pull(tmp_path, proxy, url=f"{proxy.postgres.url()}?schema=public&connection_limit=5")
    assert all(isinstance(item, Landing) for item in results)


def test_a_url_must_come_from_the_environment_and_be_one(tmp_path: Path):
    config = tmp_path / "company.yaml"
    source = "  - {name: proxy, kind: litellm_spend_logs, database: {url: %s}}\n"
    head = "organization: Example\nstart_date: 2026-11-01\nsources:\n"
    config.write_text(head + source % "'postgresql://u:p@h/d'", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="a secret does not stand in the file"):
        load_settings(config_path=config, state_dir=tmp_path, environ={})
    config.write_text(head + source % "'${DB}'", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="the environment variable DB is no database URL") as refused:
        load_settings(config_path=config, state_dir=tmp_path, environ={"DB": "h0st only"})
    assert "h0st" not in str(refused.value)


def test_check_says_since_when_there_are_rows(proxy: Proxy, tmp_path: Path):
    proxy.call("a", "2026-11-18 09:00:00")
    proxy.call("b", "2026-11-20 09:00:00")
    connector = discover()[KIND]
    options = connector.options.model_validate(
        {"name": "proxy", "kind": KIND, "database": {"url": proxy.postgres.url()}}
    )
    assert connector.check is not None
    said = connector.check(options, PullContext(NOW, tmp_path))
    assert said == f"postgresql://127.0.0.1:{proxy.postgres.port}/postgres: spend logs since 2026-11-18, 1 today"
    assert connector.check(options, PullContext(datetime(2026, 11, 20, tzinfo=UTC), tmp_path)) == said


def test_a_value_that_json_cannot_hold_stops_neither_its_row_nor_the_others(proxy: Proxy, tmp_path: Path):
    huge = 123456789012345678901234567890
    metadata = {"spend_logs_metadata": {"step": "answer", "trace": huge}, "requester_metadata": {"token": huge}}
    proxy.call("big", "2026-11-18 09:00:00", metadata=metadata)
    proxy.call("plain", "2026-11-18 10:00:00")
    proxy.connection.execute(f"alter table {TABLE} add column weight numeric")
    proxy.connection.execute(f"update {TABLE} set weight = {huge} where request_id = 'big'")
    results = _pull(tmp_path, proxy, columns={**COLUMNS, "customer_id": "metadata.spend_logs_metadata.trace"})
    first = results[0]
    assert isinstance(first, Landing), first
    assert (first.rows_landed, first.rows_rejected) == (2, 0)
    call = _rows(tmp_path)["big"]
    assert (call["step_name"], call["customer_id"]) == ("answer", str(huge))
    assert str(huge) in call["attributes_json"]


def test_a_reject_keeps_no_user(proxy: Proxy, tmp_path: Path):
    broken = {"usage_object": {"prompt_tokens": "many", "total_tokens": 5}}
    proxy.call("bad", "2026-11-18 10:00:00", metadata=broken, end_user="ada@example.com", user="u-18")
    landing = _pull(tmp_path, proxy)[0]
    assert isinstance(landing, Landing)
    assert landing.rejects_file is not None
    [reject] = pq.read_table(landing.rejects_file.path).to_pylist()
    told = json.loads(reject["raw_text"])
    assert (told["request_id"], told["usage"]["prompt_tokens"]) == ("bad", "many")
    assert "ada@example" not in reject["raw_text"]
    assert "u-18" not in reject["raw_text"]
