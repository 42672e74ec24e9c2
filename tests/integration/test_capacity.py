"""Companies that bought capacity in every combination: commitments, deployments, an overflow that several share.

Two instances at 1.50 USD an hour, bought for all of seven days, cost 2 x 1.50 x 24 x 7 = 504 USD.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.small_company import COMMITMENT, DAYS, QUIET_DAY, SmallCompany, calls_of

pytestmark = pytest.mark.integration

HEADER = "at,id,model,use_case,run,tokens_in,tokens_cached,tokens_out,deployment,spilled,spilled_from"
YEAR = "2026-01-01T00:00:00Z,2027-01-01T00:00:00Z"
BUSY_DAYS = len(DAYS) - 1


def _company(root: Path, *, commitments: Sequence[str], deployments: Sequence[str]) -> SmallCompany:
    """The small company without invoices and scores."""
    company = SmallCompany.found(root)
    config = (root / "company.yaml").read_text(encoding="utf-8")
    usage_and_rates, _, _ = config.partition("  - {name: invoices")
    company.write("company.yaml", usage_and_rates.splitlines())
    for seed in ("seed_kpis", "seed_value_equations"):
        company.write_seed(seed, [])
    company.write_seed("seed_commitments", commitments)
    company.write_seed("seed_deployments", deployments)
    return company


def _tell_spillover(company: SmallCompany) -> None:
    """Map the columns of spillover, and give them to every file of calls."""
    config = (company.root / "company.yaml").read_text(encoding="utf-8")
    deployment = "      deployment_id: deployment\n"
    spillover = "      is_spillover: spilled\n      spillover_from_deployment_id: spilled_from\n"
    company.write("company.yaml", config.replace(deployment, deployment + spillover).splitlines())
    for day in DAYS:
        if day != QUIET_DAY:
            company.write(f"calls/{day}.csv", [HEADER, *(f"{row},," for row in calls_of(day))])


def test_commitment_without_a_deployment_is_unallocated_until_a_deployment_names_it(tmp_path: Path):
    company = _company(tmp_path / "company", commitments=[COMMITMENT], deployments=[])
    outcome = company.run()
    assert (outcome.is_success, outcome.failed_checks) == (True, []), outcome
    assert company.rows(
        "select allocation_id, sum(cost_usd), sum(unallocated_cost_usd), sum(call_count) "
        "from marts.rpt_capacity_utilization group by all"
    ) == [("unallocated", 504, 504, 0)]

    published = company.published_bytes()
    company.write_seed("seed_deployments", [f"mill-own-1,mill-gpv,mill,mill-own,,,,,1,{YEAR},"])
    outcome = company.run()
    assert [(check.name, check.violation_count) for check in outcome.failed_checks] == [
        ("reference__seed_deployments_commitment_known", 1)
    ]
    assert not outcome.is_success
    assert company.published_bytes() == published


def test_deployments_of_an_inventory_cost_what_listed_ones_cost(tmp_path: Path):
    # One instance all the year, and a second one from 5 March at noon.
    noon = "2026-03-05T12:00:00Z"
    listed = [
        f"mill-own-1,mill-gpu,mill,mill-own,,,,,1,2026-01-01T00:00:00Z,{noon},",
        f"mill-own-1,mill-gpu,mill,mill-own,,,,,2,{noon},2027-01-01T00:00:00Z,",
    ]
    stated = _company(tmp_path / "stated", commitments=[COMMITMENT], deployments=listed)
    observed = _company(tmp_path / "observed", commitments=[COMMITMENT], deployments=[])
    config = (observed.root / "company.yaml").read_text(encoding="utf-8")
    source = (
        "  - {name: fleet, kind: inventory_files, path: fleet.csv, format: csv,\n"
        "     columns: {deployment_id: pool, instance_id: instance, starts_at: launched, ends_at: ended},\n"
        "     constants: {provider_name: mill, model_id: mill-own, commitment_id: mill-gpu}}"
    )
    observed.write("company.yaml", [*config.splitlines(), *source.splitlines()])
    observed.write(
        "fleet.csv",
        ["pool,instance,launched,ended", "mill-own-1,i-1,2026-01-01T00:00:00Z,", f"mill-own-1,i-2,{noon},"],
    )
    hours = "select * from marts.fct_capacity_hours order by all"
    for company in (stated, observed):
        outcome = company.run()
        assert (outcome.is_success, outcome.failed_checks) == (True, []), outcome
    assert observed.rows(hours) == stated.rows(hours)
    units = "select max(units_count), min(units_count) from marts.fct_capacity_hours where deployment_id = 'mill-own-1'"
    assert observed.rows(units) == [(2, 1)]


def test_deployment_without_a_commitment_is_paid_as_it_goes(tmp_path: Path):
    own_model_price = "card,mill,mill-own,unit_price,{kind},{price},,standard,2026-01-01,,2026-01-01,true,Price page"
    company = _company(tmp_path / "company", commitments=[], deployments=[f"mill-own-1,,mill,mill-own,,,,,,{YEAR},"])
    prices = [own_model_price.format(kind=kind, price=price) for kind, price in (("input", "1.00"), ("output", "4.00"))]
    company.write_terms("own.csv", prices)
    outcome = company.run()
    assert (outcome.is_success, outcome.failed_checks) == (True, []), outcome
    assert company.rows("select count(*) from marts.fct_capacity_hours") == [(0,)]
    # 20,000 tokens in at 1.00 and 2,500 out at 4.00 USD per million are 0.02 + 0.01.
    assert company.rows(
        "select pricing_status_type, count(*), sum(effective_cost_usd) from marts.fct_calls "
        "where deployment_id = 'mill-own-1' group by all"
    ) == [("priced", BUSY_DAYS, BUSY_DAYS * Decimal("0.03"))]


def test_spillover_that_several_deployments_may_have_caused_is_shown_once_and_never_guessed(tmp_path: Path):
    deployments = [
        f"mill-own-1,mill-gpu,mill,mill-own,,,,,1,{YEAR},overflow",
        f"mill-own-2,mill-gpu,mill,mill-own,,,,,1,{YEAR},overflow",
    ]
    company = _company(tmp_path / "company", commitments=[COMMITMENT], deployments=deployments)
    _tell_spillover(company)
    monday = DAYS[0]

    def spilled(call_id: str, origin: str, flag: str = "true") -> str:
        """1,000 tokens in and 100 out: 1,000 + 4 x 100 = 1,400 of work, 0.003 USD on demand."""
        return f"{monday}T12:30:00Z,{call_id},mill-large,support,run-{monday}-own,1000,0,100,overflow,{flag},{origin}"

    company.write(
        "calls/spilled.csv",
        [
            HEADER,
            spilled("named-1", "mill-own-1"),
            spilled("named-2", "mill-own-2", flag=""),
            spilled("named-2-too", "mill-own-2"),
            spilled("unnamed-1", ""),
            spilled("unnamed-2", ""),
            spilled("unnamed-3", ""),
            spilled("stranger", "mill-own-9"),
        ],
    )
    outcome = company.run()
    assert (outcome.is_success, outcome.failed_checks) == (True, []), outcome
    assert company.rows(
        "select commitment_id, allocation_id, spillover_call_count, spillover_tokens, cost_usd "
        f"from marts.rpt_capacity_utilization where event_date = '{monday}' order by all"
    ) == [
        # Each holds one instance for 24 hours at 1.50.
        ("mill-gpu", "mill-own-1", 1, 1_400, 36),
        ("mill-gpu", "mill-own-2", 2, 2_800, 36),
        ("mill-gpu", "spillover_of_unknown_origin", 3, 4_200, 0),
        (None, "spillover_of_unknown_origin", 1, None, 0),
    ]
    assert company.rows("select sum(spillover_call_count), sum(cost_usd) from marts.rpt_capacity_utilization") == [
        (1 + 2 + 3 + 1, 504)
    ]
    assert company.rows(
        "select pricing_status_type, count(*), sum(effective_cost_usd) from marts.fct_calls "
        "where is_spillover group by all"
    ) == [("priced", 7, 7 * Decimal("0.003"))]
