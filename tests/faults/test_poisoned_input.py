"""Poisoned input: its gates stop what lies below them, what is published stays, and once it is mended all is built."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dagster_project.progress import Progress
from dagster_project.runner import RunOutcome
from tests.faults.publication import assert_as_published_by_a_clean_run
from tests.integration.small_company import LAST_DAY, SmallCompany, calls_of, differing_tables, invoice_line

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Episode:
    """A run over one poisoned input.

    Attributes:
        outcome: What the run did.
        steps: Stage and name of every step that ended.
        failed: Failed blocking gates of the run: evaluated and violated, by name.
        is_untouched: Whether the published file is still the same, byte for byte.
    """

    outcome: RunOutcome
    steps: set[tuple[str, str]]
    failed: dict[str, tuple[int, int]]
    is_untouched: bool

    def has_built(self, stage: str, *names: str) -> list[bool]:
        """Whether each step of a stage was gone through."""
        return [(stage, name) in self.steps for name in names]


def _poisoned_calls(company: SmallCompany) -> None:
    """Seconds were taken for milliseconds: Sunday's calls are dated 21 January 1970."""
    rows = [row.replace(f"{LAST_DAY}T", "1970-01-21T", 1) for row in calls_of(LAST_DAY)]
    company.write_calls(f"{LAST_DAY}.csv", rows)


def _poisoned_terms(company: SmallCompany) -> None:
    """Whoever exported the contract left the price list empty."""
    company.write_terms("rates.csv", [])


def _poisoned_invoice(company: SmallCompany) -> None:
    """One line of the invoice has no currency."""
    company.write_invoice("2026-03.csv", [invoice_line("0.11", "Tokens", "36", currency=""), _support_line()])


def _emptied_feed(company: SmallCompany) -> None:
    """The score log was rotated away: every file holds its header only."""
    for path in (company.root / "scores").glob("*.csv"):
        company.write_scores(path.name, [])


def _support_line() -> str:
    return invoice_line("25.00", "Month", "1")


POISONS: dict[str, Callable[[SmallCompany], None]] = {
    "calls": _poisoned_calls,
    "terms": _poisoned_terms,
    "invoice": _poisoned_invoice,
    "scores": _emptied_feed,
}


@pytest.fixture(scope="module")
def patient(built_company: SmallCompany, tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    return built_company.copy_to(tmp_path_factory.mktemp("patient") / "company")


@pytest.fixture(scope="module")
def episodes(patient: SmallCompany, built_company: SmallCompany) -> dict[str, Episode]:
    """One run per poison; each poison is taken out of the feeds before the next is put in."""
    return {name: _suffer(patient, built_company, poison) for name, poison in POISONS.items()}


@pytest.fixture(scope="module")
def mended(patient: SmallCompany, episodes: dict[str, Episode]) -> RunOutcome:
    """The run after all of it, over feeds as they were."""
    assert episodes
    return patient.run()


def _suffer(patient: SmallCompany, healthy: SmallCompany, poison: Callable[[SmallCompany], None]) -> Episode:
    before = patient.published_bytes()
    poison(patient)
    progress = Progress()
    outcome = patient.run(progress)
    for folder in ("calls", "contracts", "invoices", "scores"):
        shutil.copytree(healthy.root / folder, patient.root / folder, dirs_exist_ok=True)
    failed = patient.warehouse_rows(
        "select gate_name, evaluated_count, violation_count from ops.gate_results where not is_passed "
        f"and severity = 'block' and list_contains({outcome.run_ids}, run_id)"
    )
    return Episode(
        outcome=outcome,
        steps={(step.stage, step.name) for step in progress.steps},
        failed={name: (evaluated, violated) for name, evaluated, violated in failed},
        is_untouched=patient.published_bytes() == before,
    )


@pytest.mark.parametrize("name", POISONS)
def test_poisoned_input_fails_the_run_and_leaves_what_is_published_untouched(episodes: dict[str, Episode], name: str):
    episode = episodes[name]
    assert not episode.outcome.is_success
    assert episode.is_untouched
    assert episode.has_built("publish", "serving_warehouse", "finance_exports") == [False, False]
    assert {check.name for check in episode.outcome.failed_checks} >= set(episode.failed) != set()


def test_calls_of_1970_stop_usage_and_what_rests_on_it(episodes: dict[str, Episode]):
    episode = episodes["calls"]
    # Judged are the days that wait for a build: what claims to be of 1970 is filed under Monday, which is built again.
    assert episode.failed == {"raw__table_files_calls_event_at_within_range": (14, 7)}
    assert episode.has_built("staging", "contract_files", "focus_files", "kpi_files") == [True] * 3
    assert episode.has_built("intermediate", "value") == [True]
    assert episode.has_built("staging", "table_files") == [False]
    # The models that a bill names are found in the price lists, which wait for the calls.
    assert episode.has_built("intermediate", "usage", "capacity", "pricing", "billing") == [False] * 4
    assert episode.has_built("marts", "core", "cost", "capacity", "economics", "billing") == [False] * 5
    refused = [text for text in episode.outcome.failures if "Staging of table_files was not built" in text]
    assert len(refused) == len(episode.outcome.ranges)
    assert all("raw__table_files_calls_event_at_within_range (7 of 14)" in text for text in refused)


def test_price_list_without_rows_stops_pricing_and_what_rests_on_it(episodes: dict[str, Episode]):
    episode = episodes["terms"]
    assert episode.failed["raw__contract_files_terms_not_empty"][0] == 0
    assert episode.has_built("intermediate", "usage", "value", "capacity") == [True] * 3
    assert episode.has_built("staging", "contract_files") == [False]
    assert episode.has_built("intermediate", "pricing", "billing") == [False] * 2
    assert episode.has_built("marts", "cost", "economics") == [False] * 2


def test_invoice_line_without_currency_stops_billing_and_nothing_beside_it(episodes: dict[str, Episode]):
    episode = episodes["invoice"]
    assert episode.failed == {"raw__focus_files_charges_billing_currency_present": (2, 1)}
    assert episode.has_built("marts", "core", "cost", "capacity", "economics") == [True] * 4
    assert episode.has_built("intermediate", "billing") == [False]
    assert episode.has_built("marts", "billing") == [False]


def test_feed_without_a_record_fails_because_its_gates_judged_nothing(episodes: dict[str, Episode]):
    episode = episodes["scores"]
    assert episode.failed["raw__kpi_files_scores_not_empty"][0] == 0
    assert episode.has_built("marts", "cost", "capacity") == [True] * 2
    assert episode.has_built("staging", "kpi_files") == [False]
    assert episode.has_built("marts", "economics") == [False]


def test_everything_is_built_once_the_inputs_are_mended(
    mended: RunOutcome, patient: SmallCompany, built_company: SmallCompany
):
    assert mended.is_success, mended
    assert mended.failed_checks == []
    schemas = ("intermediate", "marts", "analytics")
    assert differing_tables(patient.settings.warehouse_path, built_company.settings.warehouse_path, schemas) == {}
    assert_as_published_by_a_clean_run(patient, built_company)
