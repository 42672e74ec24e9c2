"""Pulling as the orchestrator does it: what cannot be read stops the pull, unless its last good version stays."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from dagster_project.progress import Progress
from dagster_project.settings import Settings, load_settings
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.raw_assets import raw_assets
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
