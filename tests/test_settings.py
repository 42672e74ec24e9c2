"""The configuration: what is read, where paths lead, and what a complaint names: file, line, key, choices."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from dagster_project import settings as settings_module
from dagster_project.errors import ConfigurationError
from dagster_project.settings import (
    DEFAULT_CONFIG_PATH,
    DEFAULT_REFERENCE_DIR,
    export_environment,
    load_settings,
)
from dagster_project.sources import discover
from dagster_project.sources._connector import Connector, FileSourceOptions, InputPull, SourceOptions
from dagster_project.sources.kpi_query import KpiQueryOptions
from dagster_project.sources.otlp_files import OtlpFilesOptions
from dagster_project.sources.table_files import TableFilesOptions

GOOD = """\
organization: NovaSpark
start_date: 2026-07-01
as_of: 2026-10-01T02:00:00+02:00
demo: {seed: 7, calls: 1000, days: 9}
sources:
  - name: agents
    kind: otlp_files
    path: "{feeds}/otel/*.jsonl"
  - name: calls
    kind: table_files
    path: calls/*.csv
    format: csv
    columns:
      event_at: when
      input_tokens: prompt
    constants: {turn_index: 3, is_success: true}
    timestamp: {format: relative_ms, origin: 2026-07-01T00:00:00Z}
  - {name: prices, kind: genai_prices}
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "company.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _error(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    path = _write(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config_path=path, state_dir=folder / "state", environ=environ or {})
    return str(caught.value).removeprefix(f"{path}:")


FORMER = """\
former_sources:
  - {name: gateway, kind: table_files, landings: kept}
  - {name: agents, kind: table_files, landings: withdrawn}
"""


def test_settings_reads_former_sources(tmp_path: Path):
    settings = load_settings(config_path=_write(tmp_path, GOOD + FORMER), state_dir=tmp_path / "state", environ={})
    assert [(item.name, item.kind, item.landings) for item in settings.former_sources] == [
        ("gateway", "table_files", "kept"),
        ("agents", "table_files", "withdrawn"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("landings: kept", "landings: deleted"), "20: key 'landings': Input should be 'kept' or 'withdrawn'"),
        (("name: gateway", "name: calls"), "20: key 'name': table_files 'calls' stands twice in sources and former"),
        (("gateway, kind: table_files", "gateway, kind: tables"), "20: key 'kind': unknown kind of source; known: "),
        ((", landings: kept", ""), "20: key 'landings': missing, expected a value; known: name, kind, landings"),
    ],
)
def test_settings_former_source_that_cannot_be_is_refused(tmp_path: Path, change: tuple[str, str], message: str):
    assert _error(tmp_path, GOOD + FORMER.replace(*change)).startswith(message)


@pytest.mark.parametrize(("account", "is_refused"), [("a", True), ("b", False)])
def test_costs_of_an_account_are_asked_for_once(tmp_path: Path, account: str, is_refused: bool):
    """Anthropic's cost report and its analytics cost report have the same costs."""
    text = f"""organization: A
start_date: 2026-07-01
sources:
  - name: costs
    kind: anthropic_costs
    billing_account_id: a
    api: {{key: "${{KEY}}", start_date: 2026-07-01}}
  - name: analytics
    kind: anthropic_costs
    billing_account_id: {account}
    api: {{report: analytics, key: "${{KEY}}", start_date: 2026-07-01}}
"""
    path = _write(tmp_path, text)
    if not is_refused:
        settings = load_settings(config_path=path, state_dir=tmp_path / "state", environ={"KEY": "k"})
        assert [source.name for source in settings.sources] == ["costs", "analytics"]
        return
    with pytest.raises(
        ConfigurationError, match="8: key 'name': anthropic_costs 'costs' asks for the costs of account"
    ):
        load_settings(config_path=path, state_dir=tmp_path / "state", environ={"KEY": "k"})


def test_settings_reads_the_company_and_its_sources(tmp_path: Path):
    settings = load_settings(config_path=_write(tmp_path, GOOD), state_dir=tmp_path / "state", environ={})
    assert (settings.organization, settings.start_date) == ("NovaSpark", date(2026, 7, 1))
    assert settings.as_of == datetime(2026, 10, 1, tzinfo=UTC)
    assert settings.demo is not None
    assert (settings.demo.seed, settings.demo.calls, settings.demo.days) == (7, 1000, 9)
    assert [source.name for source in settings.sources] == ["agents", "calls", "prices"]
    calls = settings.sources[1]
    assert isinstance(calls, TableFilesOptions)
    assert calls.columns == {"event_at": "when", "input_tokens": "prompt"}
    assert calls.constants == {"turn_index": 3, "is_success": True}
    assert calls.timestamp.origin == datetime(2026, 7, 1, tzinfo=UTC)


def test_settings_derive_every_path_from_the_state_directory(tmp_path: Path):
    state = tmp_path / "state"
    settings = load_settings(config_path=_write(tmp_path, GOOD), state_dir=state, environ={})
    assert settings.feeds_dir == state / "feeds"
    assert settings.landing_dir == state / "landing"
    assert settings.warehouse_path == state / "warehouse.duckdb"
    assert settings.serving_path == state / "serving" / "tokenledger.duckdb"
    assert (settings.exports_dir, settings.dagster_home, settings.dbt_dir) == (
        state / "exports",
        state / "dagster",
        state / "dbt",
    )
    assert settings.reference_dir == DEFAULT_REFERENCE_DIR
    assert export_environment(settings) == {
        "TOKENLEDGER_WAREHOUSE": str(state / "warehouse.duckdb"),
    }


def test_settings_paths_of_sources_are_relative_to_feeds_or_to_the_file(tmp_path: Path):
    settings = load_settings(config_path=_write(tmp_path, GOOD), state_dir=tmp_path / "state", environ={})
    agents, calls, _ = settings.sources
    assert isinstance(agents, OtlpFilesOptions)
    assert isinstance(calls, FileSourceOptions)
    assert (agents.path.base, agents.path.label) == (tmp_path / "state" / "feeds", "feeds/")
    assert (calls.path.base, calls.path.pattern) == (tmp_path, "calls/*.csv")


def test_settings_take_file_and_state_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = GOOD.replace("NovaSpark", "${COMPANY}") + "reference_dir: reference\n"
    monkeypatch.setenv("TOKENLEDGER_CONFIG", str(_write(tmp_path, text)))
    monkeypatch.setenv("TOKENLEDGER_STATE_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("COMPANY", "Other Ltd")
    settings = load_settings()
    assert (settings.organization, settings.state_dir) == ("Other Ltd", tmp_path / "elsewhere")
    assert settings.reference_dir == tmp_path / "reference"


def test_settings_default_to_the_demo_company_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ={})
    assert settings.config_path == DEFAULT_CONFIG_PATH
    assert settings.state_dir == tmp_path / ".tokenledger"


def test_settings_cannot_be_changed(tmp_path: Path):
    settings = load_settings(config_path=_write(tmp_path, GOOD), state_dir=tmp_path, environ={})
    with pytest.raises(ValidationError):
        settings.organization = "Other"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "organization:",
            "organisation:",
            "1: key 'organisation': unknown key; known: organization,",
        ),
        (
            "organization: NovaSpark\n",
            "",
            "1: key 'organization': missing, expected a value; known: organization,",
        ),
        (
            "organization: NovaSpark\n",
            "organization: NovaSpark\ncolour: red\n",
            "2: key 'colour': unknown key; known:",
        ),
        ("2026-07-01\n", "someday\n", "2: key 'start_date': Input should be a valid date"),
        ("calls: 1000", "calls: many", "4: key 'calls': Input should be a valid integer"),
        ("calls: 1000", "call: 1000", "4: key 'call': unknown key; known: seed, calls, days"),
        (
            "kind: otlp_files",
            "kind: otlp",
            "7: key 'kind': unknown kind of source; known: anthropic_costs, anthropic_usage,",
        ),
        (
            "    kind: otlp_files\n",
            "",
            "6: key 'kind': missing, expected one in every source; known: name, kind",
        ),
        ("name: calls", "name: agents", "9: key 'name': duplicate source name, first used on line 6"),
        ("name: calls", "name: My Calls", "9: key 'name': String should match pattern"),
        ("format: csv", "format: xml", "12: key 'format': Input should be 'parquet', 'csv' or 'jsonl'"),
        ("    format: csv\n", "", "9: key 'format': missing, expected a value; known: name, kind, on_drift,"),
        ("format: csv", "formats: csv", "12: key 'formats': unknown key; known: name, kind, on_drift,"),
        (
            "input_tokens: prompt",
            "tokens: prompt",
            "15: key 'tokens': unknown canonical column; known: event_at,",
        ),
        (
            "turn_index: 3",
            "turn_index: three",
            "16: key 'constants': the constant of turn_index cannot be read as",
        ),
        ("format: relative_ms", "format: months", "17: key 'format': Input should be 'iso', 'unix_s'"),
        ("format: relative_ms, ", "zone: UTC, ", "17: key 'zone': unknown key; known: format, origin"),
        ("calls/*.csv", "'{state}/x.csv'", "11: key 'path': expected a path, relative or absolute"),
        (
            "kind: genai_prices",
            "kind: genai_prices, path: x",
            "18: key 'path': unknown key; known: name, kind",
        ),
        ("name: agents", "name: agents\n    name: agents", "7: key 'name': given twice"),
        ("sources:", "sources: 5\nx-sources:", "6: key 'x-sources': unknown key; known: organization,"),
        ("columns:\n      event_at: when", "columns:\n      event_at: [when", "not valid YAML"),
        (
            "path: calls/*.csv",
            "path: ${CALLS_DIR}/*.csv",
            "11: key 'path': environment variable CALLS_DIR is not set",
        ),
    ],
)
def test_settings_complaint_names_line_key_and_choices(tmp_path: Path, old: str, new: str, expected: str):
    assert old in GOOD
    assert expected in _error(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(("text", "expected"), [("", "1: expected a mapping"), ("- a\n", "1: expected a mapping")])
def test_settings_refuse_a_file_that_is_no_mapping(tmp_path: Path, text: str, expected: str):
    assert _error(tmp_path, text).startswith(expected)


def test_settings_refuse_an_alias_that_contains_itself(tmp_path: Path):
    assert "an alias that contains itself" in _error(tmp_path, "organization: &a [*a]\n")


def test_settings_name_a_file_that_is_missing_or_not_text(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: cannot read the configuration: No such file"):
        load_settings(config_path=tmp_path / "absent.yaml", environ={})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not UTF-8 text"):
        load_settings(config_path=tmp_path / "binary.yaml", environ={})


class _SecretOptions(SourceOptions):
    token: SecretStr
    limit: int = 1


@pytest.fixture
def with_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> list[InputPull]:
        return []

    connector = Connector("vault", "usage", (), _SecretOptions, read)  # type: ignore[arg-type]
    known = {**discover(), "vault": connector}
    monkeypatch.setattr(settings_module, "discover", lambda: known)


@pytest.mark.usefixtures("with_a_secret")
def test_settings_never_show_a_secret(tmp_path: Path):
    head = "organization: N\nstart_date: 2026-07-01\nsources:\n"
    secret = {"TOKEN": "hunter2"}
    good = head + "  - {name: v, kind: vault, token: '${TOKEN}'}\n"
    settings = load_settings(config_path=_write(tmp_path, good), state_dir=tmp_path, environ=secret)
    source = settings.sources[0]
    assert isinstance(source, _SecretOptions)
    assert source.token.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    for line in (
        "  - {name: v, kind: vault, token: '${TOKEN}', limit: '${TOKEN}'}\n",
        "  - {name: v, kind: vault, token: '${TOKEN}', password: '${TOKEN}'}\n",
        "  - {name: '${TOKEN}!', kind: vault, token: '${TOKEN}'}\n",
        "  - {name: v, kind: '${TOKEN}', token: x}\n",
        "  - {name: v, kind: otlp_files, path: '{${TOKEN}}'}\n",
    ):
        assert "hunter2" not in _error(tmp_path, head + line, secret)


API_SOURCE = """\
organization: N
start_date: 2026-07-01
sources:
  - name: costs
    kind: openai_costs
    billing_account_id: org-1
    api: {start_date: 2026-07-01, key: '${OPENAI_ADMIN_KEY}'}
"""


def test_settings_take_an_api_key_from_the_environment_only(tmp_path: Path):
    settings = load_settings(
        config_path=_write(tmp_path, API_SOURCE), state_dir=tmp_path, environ={"OPENAI_ADMIN_KEY": "hunter2"}
    )
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    literal = _error(tmp_path, API_SOURCE.replace("${OPENAI_ADMIN_KEY}", "hunter2"))
    assert "7: key 'key': expected ${NAME} with the name of an environment variable" in literal
    assert "hunter2" not in literal
    empty = _error(tmp_path, API_SOURCE, {"OPENAI_ADMIN_KEY": ""})
    assert "7: key 'key': the environment variable OPENAI_ADMIN_KEY is empty" in empty


def test_how_an_api_is_reached_does_not_decide_how_its_answers_are_read(tmp_path: Path):
    def reading(text: str, key: str = "one") -> str:
        path = _write(tmp_path, text)
        settings = load_settings(config_path=path, state_dir=tmp_path, environ={"OPENAI_ADMIN_KEY": key})
        return settings.sources[0].reading_sha256()

    before = reading(API_SOURCE)
    assert reading(API_SOURCE, "two") == before
    assert (
        reading(API_SOURCE.replace("{start_date", "{lookback_days: 9, http: {timeout_seconds: 9}, start_date"))
        == before
    )
    assert reading(API_SOURCE.replace("{start_date", "{group_by: [line_item], start_date")) != before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    api: {", "    path: x\n    api: {", "either `path` (files) or `api` (asked), and not both"),
        (
            "start_date: 2026-07-01, key",
            "group_by: [colour], start_date: 2026-07-01, key",
            "7: key '0': Input should be",
        ),
        ("start_date: 2026-07-01, key", "key", "7: key 'start_date': missing"),
    ],
)
def test_settings_complain_about_an_api_source(tmp_path: Path, old: str, new: str, expected: str):
    assert old in API_SOURCE
    assert expected in _error(tmp_path, API_SOURCE.replace(old, new), {"OPENAI_ADMIN_KEY": "k"})


def test_folded_text_reads_as_one_line_and_literal_text_as_its_lines(tmp_path: Path):
    query = "  - name: crm\n    kind: kpi_query\n    database: {url: '${DB}'}\n    columns: {scored_at: at, score: x}\n"
    written = ["select 1 as at,", "2 as x from", "t"]
    for mark, between in ((">", " "), ("|", "\n")):
        lines = "".join(f"      {line}\n" for line in written)
        text = f"organization: Mill\nstart_date: 2026-07-01\nsources:\n{query}    query: {mark}-\n{lines}"
        path = _write(tmp_path, text)
        [source] = load_settings(config_path=path, state_dir=tmp_path, environ={"DB": "sqlite://"}).sources
        assert isinstance(source, KpiQueryOptions)
        assert source.query == between.join(written)
