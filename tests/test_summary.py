"""The closing figures of a run, read from what is published; money in JSON is exact text."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import orjson

from dagster_project.runner import FailedCheck, RunOutcome
from dagster_project.summary import as_json, json_default, summarize
from tests.integration.small_company import SmallCompany

# 36 calls of 0.003 USD.
LIST_COST = Decimal("0.108")
# Six calls of 20,000 in + 4 x 2,500 out = 30,000 of the 60,000 tokens that one unit does in an hour, at 1.50 USD.
USED_COST = 6 * Decimal("0.75")
BOUGHT_COST = 2 * Decimal("1.50") * 24 * 7


def test_summary_before_anything_is_published_is_none(tmp_path: Path):
    assert summarize(SmallCompany.found(tmp_path / "company").settings) is None


def test_summary_holds_the_published_figures(built_company: SmallCompany):
    summary = summarize(built_company.settings)
    assert summary is not None
    assert summary.totals == {
        "call_count": 42,
        "list_cost_usd": LIST_COST,
        "contracted_cost_usd": LIST_COST,
        "effective_cost_usd": LIST_COST + USED_COST,
        "unpriced_call_count": 0,
        "first_date": date(2026, 3, 2),
        "last_date": date(2026, 3, 8),
    }
    [provider] = summary.spend_by_provider
    assert (provider["provider_name"], provider["call_count"]) == ("mill", 42)
    [use_case] = summary.use_cases
    # Six mornings are solved, six afternoons are not, six runs on own capacity are not judged.
    assert (use_case["instance_count"], use_case["success_share"], use_case["value_usd"]) == (18, 0.5, 36)
    [pool] = summary.capacity
    assert (pool["cost_usd"], pool["used_cost_usd"]) == (BOUGHT_COST, USED_COST)
    assert pool["unallocated_cost_usd"] == BOUGHT_COST / 2
    assert pool["cost_usd"] == pool["used_cost_usd"] + pool["idle_cost_usd"] + pool["unallocated_cost_usd"]
    assert summary.rejected == []


def test_json_says_what_was_built_and_what_failed(built_company: SmallCompany):
    failed = FailedCheck("marts__fct_calls_tokens_conserved", "fct_calls", 10, 1, "rule")
    outcome = RunOutcome(
        is_success=False,
        ranges=[(date(2026, 3, 3), date(2026, 3, 4))],
        run_ids=["run-1"],
        passed_count=7,
        failed_checks=[failed],
        failures=["dbt_marts_cost: stopped"],
    )
    summary = summarize(built_company.settings)
    content = orjson.loads(orjson.dumps(as_json(built_company.settings, outcome, summary, 1.26), default=json_default))
    assert content["is_success"] is False
    assert content["built_days"] == [{"first_date": "2026-03-03", "last_date": "2026-03-04"}]
    assert content["gates"] == {"passed_count": 7, "failed_count": 1, "failed": [vars(failed)]}
    assert content["failures"] == ["dbt_marts_cost: stopped"]
    assert Decimal(content["spend_usd"]["effective"]) == LIST_COST + USED_COST
    assert isinstance(content["spend_usd"]["effective"], str)
    assert content["rows"] == {"calls": 42, "unpriced_calls": 0, "rejected": 0, "rejected_by_reason": []}
    assert content["seconds"] == 1.3
    assert Path(content["exports_path"]).is_dir()


def test_json_of_a_company_that_never_published_has_no_figures(tmp_path: Path):
    settings = SmallCompany.found(tmp_path / "company").settings
    content = as_json(settings, RunOutcome(), None, 0.1)
    assert (content["serving_path"], content["exports_path"]) == (None, None)
    assert content["rows"]["calls"] is None
    assert content["spend_usd"] == {"list": None, "contracted": None, "effective": None, "by_provider": []}


def test_json_writes_decimals_without_an_exponent():
    assert json_default(Decimal("0E-15")) == "0.000000000000000"
    assert json_default(Decimal("1E+3")) == "1000"
    assert json_default(Decimal("20.52022672899")) == "20.52022672899"
