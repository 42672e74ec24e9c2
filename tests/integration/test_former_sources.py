"""A source that is taken out of the configuration: what it landed stays, is shown, and can be kept or withdrawn."""

from pathlib import Path

import pytest

from dagster_project.runner import RunOutcome
from tests.integration.small_company import ALL_DAYS, CONFIG, SmallCompany

pytestmark = pytest.mark.integration

INVOICES = "  - {name: invoices, kind: focus_files, path: invoices/*.csv}\n"
LINES = "select count(*) from marts.fct_invoice_lines"


def _configure(company: SmallCompany, landings: str | None) -> None:
    """Take the invoices out of the configuration; say of their landings what is given."""
    assert INVOICES in CONFIG
    former = f"former_sources: [{{name: invoices, kind: focus_files, landings: {landings}}}]\n" if landings else ""
    company.write("company.yaml", (CONFIG.replace(INVOICES, "") + former).splitlines())


def _run(built_company: SmallCompany, folder: Path, landings: str | None) -> tuple[SmallCompany, RunOutcome]:
    company = built_company.copy_to(folder / "company")
    _configure(company, landings)
    return company, company.run()


def test_landings_of_a_source_that_was_removed_stay_and_the_run_says_so(built_company: SmallCompany, tmp_path: Path):
    company, outcome = _run(built_company, tmp_path, None)
    assert outcome.is_success
    [check] = outcome.failed_checks
    assert (check.name, check.asset) == ("raw__focus_files_sources_known", "raw_focus_files__charges")
    assert (check.violation_count, check.evaluated_count) == (1, 1)
    assert outcome.ranges == []
    assert company.rows(LINES) == built_company.rows(LINES) == [(2,)]


def test_landings_of_a_former_source_that_is_kept_stay_without_a_warning(built_company: SmallCompany, tmp_path: Path):
    company, outcome = _run(built_company, tmp_path, "kept")
    assert (outcome.is_success, outcome.failed_checks, outcome.ranges) == (True, [], [])
    company.write_calls("late.csv", ["2026-03-04T11:00:00Z,late,mill-large,support,run-2026-03-04-10,1000,0,100,"])
    outcome = company.run()
    assert (outcome.is_success, outcome.failed_checks) == (True, [])
    assert company.rows(LINES) == [(2,)]


def test_landings_of_a_former_source_that_is_withdrawn_leave_the_ledger_and_stay_on_disk(
    built_company: SmallCompany, tmp_path: Path
):
    company, outcome = _run(built_company, tmp_path, "withdrawn")
    assert (outcome.is_success, outcome.failed_checks) == (True, []), outcome
    # The invoice's lines are of the second, the day on which their charge period begins.
    assert outcome.ranges == [(ALL_DAYS[0][0], ALL_DAYS[0][0])]
    assert company.rows(LINES) == [(0,)]
    assert list(company.settings.landing_dir.glob("focus_files/charges/**/*.parquet"))
    again = company.run()
    assert (again.is_success, again.failed_checks, again.ranges) == (True, [], [])
