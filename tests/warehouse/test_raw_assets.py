"""Pulling as the orchestrator does it: what cannot be read stops the pull, unless its last good version stays."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from dagster_project.progress import Progress
from dagster_project.settings import Settings, load_settings
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.raw_assets import raw_assets
from tests.sources.api_server import Call, api_server, reply
from tests.sources.web import Answer, serving

GOOD = b'{"gpt-5": {"litellm_provider": "openai", "input_cost_per_token": 1e-6}}'
INPUTS_GATE = "raw__litellm_prices_inputs_fresh"


def _settings(folder: Path, url: str) -> Settings:
    config = folder / "tokenledger.yaml"
    http = "{timeout_seconds: 5, pause_seconds: 0, attempt_count: 1}"
    config.write_text(
        "organization: Mill\nstart_date: 2026-07-01\nsources:\n"
        f'  - {{name: prices, kind: litellm_prices, url: "{url}", http: {http}}}\n',
        encoding="utf-8",
    )
    return load_settings(config_path=config, state_dir=folder / "state", environ={})


def _pull(settings: Settings) -> dg.ExecuteInProcessResult:
    return dg.materialize(raw_assets(settings), resources={"progress": Progress()}, raise_on_error=False)


def _checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {item.check_name: item.passed for item in result.get_asset_check_evaluations()}


def _rates(settings: Settings) -> list[tuple[Any, ...]]:
    with open_warehouse(settings) as con:
        return con.execute("select model_id, unit_price from raw.raw_litellm_prices__rates").fetchall()


@pytest.mark.parametrize("bad", [Answer(500), Answer(body=b"<html>"), Answer(body=GOOD, announced_bytes=999)])
def test_last_good_catalogue_stays_in_force_and_the_failure_is_a_warning(tmp_path: Path, bad: Answer):
    with serving(Answer(body=GOOD), bad) as web:
        settings = _settings(tmp_path, web.url)
        first = _pull(settings)
        in_force = _rates(settings)
        second = _pull(settings)
    assert first.success
    assert all(_checks(first).values())
    assert second.success
    # The catalogue has no multipliers and no allowances, and need not have any.
    assert [name for name, passed in _checks(second).items() if not passed] == [INPUTS_GATE]
    assert _rates(settings) == in_force != []
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as con:
        [(sample,)] = con.execute(
            "select sample_json from ops.gate_results where gate_name = ? and not is_passed", [INPUTS_GATE]
        ).fetchall()
    assert "last_good_at" in sample


def test_pull_without_a_last_good_version_fails(tmp_path: Path):
    with serving(Answer(500)) as web:
        result = _pull(_settings(tmp_path, web.url))
    assert not result.success


def _cost_pages(*results: dict[str, Any]) -> str:
    bucket = {"start_time": 1_782_864_000, "end_time": 1_782_950_400, "results": results}
    return json.dumps({"data": [bucket]})


def test_a_field_that_the_format_did_not_have_is_shown_and_warns(tmp_path: Path):
    config = tmp_path / "tokenledger.yaml"
    config.write_text(
        "organization: Mill\nstart_date: 2026-07-01\nsources:\n"
        "  - {name: costs, kind: openai_costs, path: costs.json, billing_account_id: org-1}\n",
        encoding="utf-8",
    )
    settings = load_settings(config_path=config, state_dir=tmp_path / "state", environ={})
    known = {"amount": {"value": 1, "currency": "usd"}, "api_source": "agents_api"}
    gate, shown = "raw__openai_costs_costs_fields_known", []
    for results in ([known], [known, known | {"line_item": "x", "colour": "red"}]):
        (tmp_path / "costs.json").write_text(_cost_pages(*results), encoding="utf-8")
        result = _pull(settings)
        assert result.success
        [event] = result.get_asset_materialization_events()
        shown.append((event.materialization.metadata["new_fields"].value, _checks(result)[gate]))
    assert shown == [([], True), (["colour"], False)]


def test_a_line_of_a_bill_that_is_rejected_warns(tmp_path: Path):
    config = tmp_path / "tokenledger.yaml"
    config.write_text(
        "organization: Mill\nstart_date: 2026-07-01\nsources:\n"
        "  - name: bill\n    kind: invoice_files\n    path: bill.csv\n"
        "    columns: {charge_period_start: day, billed_cost: usd}\n"
        "    constants: {provider_name: mill, billing_account_id: a, billing_currency: USD}\n",
        encoding="utf-8",
    )
    settings = load_settings(config_path=config, state_dir=tmp_path / "state", environ={})
    gate, shown = "raw__invoice_files_lines_conserved", []
    for usd in ("0.0000138888888888888889", "12,5"):
        (tmp_path / "bill.csv").write_text(f'day,usd\n2026-07-01,"{usd}"\n2026-07-02,1\n', encoding="utf-8")
        result = _pull(settings)
        assert result.success
        shown.append(_checks(result)[gate])
    assert shown == [True, False]
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as con:
        [(sample,)] = con.execute(
            "select sample_json from ops.gate_results where gate_name = ? and not is_passed", [gate]
        ).fetchall()
    assert "billed_cost: 'usd' is not a decimal number" in sample


def test_a_source_that_fails_fails_alone(tmp_path: Path):
    def refuse(_: Call) -> Answer:
        return reply({"error": {"message": "invalid key"}}, 401)

    with api_server({"/v1/organization/costs": refuse}) as server:
        config = tmp_path / "tokenledger.yaml"
        config.write_text(
            "organization: Mill\nstart_date: 2026-07-01\nas_of: 2026-07-02T12:00:00Z\nsources:\n"
            "  - {name: prices, kind: genai_prices}\n"
            "  - name: costs\n    kind: openai_costs\n    billing_account_id: org-1\n"
            f"    api: {{url: '{server.url}', key: '${{OPENAI_ADMIN_KEY}}', start_date: 2026-07-01}}\n",
            encoding="utf-8",
        )
        environ = {"OPENAI_ADMIN_KEY": "sk-wrong"}
        settings = load_settings(config_path=config, state_dir=tmp_path / "state", environ=environ)
        result = _pull(settings)
    assert {event.step_key for event in result.all_events if event.is_step_failure} == {"pull_openai_costs"}
    assert _checks(result)["raw__openai_costs_inputs_fresh"] is False
    assert _checks(result)["raw__genai_prices_inputs_fresh"] is True
    [failed] = [event for event in result.all_events if event.is_step_failure]
    description = failed.step_failure_data.user_failure_data
    assert description is not None
    assert "Set the environment variable OPENAI_ADMIN_KEY" in str(description.description)
    assert "sk-wrong" not in str(description.description)
