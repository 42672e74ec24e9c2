"""The main job in this process, seen from outside: what it reports, and that it leaves nothing undone."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from dagster_project.publish.assets import stale_periods
from dagster_project.runner import dagster_instance
from tests.conftest import FirstRun
from tests.integration.small_company import DAYS, SmallCompany

STAGES = ["raw", "raw gates", "reference", "staging", "intermediate", "marts", "gates", "analytics", "publish"]


def test_instance_keeps_its_history_in_the_state_directory(tmp_path: Path):
    settings = SmallCompany.found(tmp_path / "company").settings
    with dagster_instance(settings) as instance:
        assert instance.root_directory == str(settings.dagster_home)
    text = (settings.dagster_home / "dagster.yaml").read_text(encoding="utf-8")
    assert str(settings.dagster_home) in text
    assert ".tokenledger/dagster" not in text


@pytest.mark.integration
def test_first_run_goes_through_every_stage_and_publishes(first_run: FirstRun):
    company, outcome, progress = first_run.company, first_run.outcome, first_run.progress
    assert outcome.is_success
    assert outcome.ranges == [(DAYS[0], DAYS[-1])]
    assert len(outcome.run_ids) == 2
    assert (outcome.failed_checks, outcome.failures) == ([], [])
    assert list(dict.fromkeys(step.stage for step in progress.steps if step.stage in STAGES)) == STAGES
    assert company.rows("select count(*) from marts.fct_calls") == [(42,)]
    assert stale_periods(company.settings) == []
    assert company.warehouse_rows("select max(window_start_date) from ops.gate_results where stage = 'marts'") == [
        (date(1970, 1, 1),)
    ]


@pytest.mark.integration
def test_run_without_anything_to_build_makes_up_for_a_missing_export(company: SmallCompany):
    shutil.rmtree(company.settings.exports_dir)
    assert stale_periods(company.settings) == ["2026-03"]
    outcome = company.run()
    assert outcome.is_success
    assert outcome.ranges == []
    assert stale_periods(company.settings) == []
    assert (company.settings.exports_dir / "2026-03" / "manifest.json").exists()


@pytest.mark.integration
def test_source_that_cannot_be_read_is_named_and_the_others_are_built(company: SmallCompany):
    bad = company.root / "scores" / "bad.csv"
    bad.write_bytes("at,kpi,score,use_case,run\n".encode("utf-16"))
    outcome = company.run()
    assert not outcome.is_success
    [failure] = outcome.failures
    assert failure.startswith("pull_kpi_files: scores: ")
    assert "scores/bad.csv" in failure
    assert "UTF-16" in failure
