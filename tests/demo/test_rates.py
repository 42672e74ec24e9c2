"""Prices of the demo and the contract files that state them."""

from decimal import Decimal

import polars as pl

from dagster_project.demo.calls import CHAT, EMBEDDINGS, ON_DEMAND, Usage, UsageKey
from dagster_project.demo.novaspark import DEFAULT_START_DATE
from dagster_project.demo.plan import Plan
from dagster_project.demo.rates import RateBook
from tests.demo.conftest import Feeds

PLAN = Plan(seed=7, calls=60_000, days=42, start_date=DEFAULT_START_DATE)
GPT = UsageKey("openai", "gpt-4.1", "standard", CHAT, ON_DEMAND)


def test_list_cost_prices_each_kind_once_and_reasoning_as_output():
    # 1 M input at 2.00, 1 M cached at 0.50, 0.25 M visible and 0.75 M reasoning output at 8.00.
    usage = Usage(1, 1_000_000, 1_000_000, 250_000, 750_000)
    assert RateBook(PLAN).list_cost_usd(GPT, usage, day=0) == Decimal("10.5")


def test_list_cost_of_embeddings_is_input_alone():
    key = UsageKey("openai", "text-embedding-3-small", "standard", EMBEDDINGS, ON_DEMAND)
    assert RateBook(PLAN).list_cost_usd(key, Usage(1, 3_000_000, 0, 0, 0), day=0) == Decimal("0.06")


def test_unit_price_is_discounted_from_the_first_day_of_the_contract():
    rates = RateBook(PLAN)
    before = rates.unit_price(GPT, "output", PLAN.discount_day - 1)
    after = rates.unit_price(GPT, "output", PLAN.discount_day)
    assert before.contracted_usd == before.list_usd == after.list_usd == Decimal("0.000008")
    assert after.contracted_usd == Decimal("0.00000704")


def test_unit_price_changes_on_the_stated_day_and_batch_is_half():
    rates = RateBook(PLAN)
    for tier, before, after in (("standard", "0.0000012", "0.0000009"), ("batch", "0.0000006", "0.00000045")):
        key = UsageKey("together", "Qwen/Qwen2.5-72B-Instruct-Turbo", tier, CHAT, ON_DEMAND)
        assert rates.unit_price(key, "input", PLAN.price_change_day - 1).list_usd == Decimal(before)
        assert rates.unit_price(key, "input", PLAN.price_change_day).list_usd == Decimal(after)


def test_contract_files_state_prices_that_meet_without_gap_or_overlap(feeds: Feeds):
    terms = pl.read_csv(feeds.folder / "contracts" / "together_terms.csv", infer_schema_length=0)
    changed_on = feeds.truths.price_changes[0].changed_on.isoformat()
    assert terms.height == 12
    for _, rows in terms.group_by("service_tier", "unit_kind"):
        old, new = rows.sort("valid_from").to_dicts()
        assert old["valid_to"] == new["valid_from"] == changed_on
        assert new["valid_to"] is None
    assert set(terms["is_list"]) == {"true"}


def test_contract_files_state_the_discount(feeds: Feeds):
    (term,) = pl.read_csv(feeds.folder / "contracts" / "openai_terms.csv", infer_schema_length=0).to_dicts()
    assert (term["term_type"], term["discount_share"], term["model_pattern"]) == (
        "percentage_discount",
        "0.12",
        "*",
    )
    assert term["valid_from"] == feeds.truths.discount.valid_from.isoformat()
    assert term["is_list"] == "false"
