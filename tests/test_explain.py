"""How a charge is put in words: products that are exact, and a reason for every factor. The rows are made by hand."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from dagster_project.explain import CallExplanation, capacity_lines, charge_lines, next_step, week_instant

CALL: dict[str, Any] = {
    "source_name": "gateway",
    "call_id": "call-1",
    "called_at": datetime(2026, 7, 10, 17, tzinfo=UTC),
    "event_date": date(2026, 7, 10),
    "provider_name": "openai",
    "model_name": "gpt-4.1-eu",
    "model_id": "gpt-4.1",
    "service_tier": "priority",
    "region_id": "eu",
    "deployment_id": None,
    "pricing_status_type": "priced",
    "unpriced_reason_type": None,
    "reported_input_tokens": 250_000,
    "list_cost_usd": Decimal("0.5940"),
    "contracted_cost_usd": Decimal("0.5940"),
    "effective_cost_usd": Decimal("0.5940"),
}
# 2 EUR per million, 10 % more in the region, at 1.08 USD per EUR: 2 x 1.1 x 1.08 = 2.376 USD per million.
CHARGE: dict[str, Any] = {
    "unit_kind_type": "input",
    "quantity_units": Decimal("250000.000"),
    "free_units": Decimal("0.000"),
    "list_usd_per_unit": Decimal("0.000002376000000"),
    "contracted_usd_per_unit": Decimal("0.000002376000000"),
    "list_cost_usd": Decimal("0.594000000000000"),
    "contracted_cost_usd": Decimal("0.594000000000000"),
    "price_kind_type": "input",
    "service_tier": "priority",
    "rate_source_name": "prices",
    "rate_service_tier": "priority",
    "rate_region_id": "eu",
    "rate_unit_price": Decimal("0.000002000000000"),
    "pricing_currency": "EUR",
    "region_multiplier": Decimal("1.100000"),
    "tier_multiplier": Decimal("1.000000"),
    "usd_per_currency_unit": Decimal("1.080000000000"),
    "rate_evidence": "page 3",
    "rate_context_over_tokens": -1,
    "rate_context_up_to_tokens": None,
    "rate_week_minute_from": 0,
    "rate_week_minute_to": 10_080,
    "is_threshold_inclusive": False,
    "contract_id": None,
    "contract_term_type": None,
    "contract_unit_price": None,
    "contract_pricing_currency": None,
    "contract_usd_per_currency_unit": None,
    "contract_evidence": None,
    "contract_context_over_tokens": None,
    "contract_context_up_to_tokens": None,
    "contract_week_minute_from": None,
    "contract_week_minute_to": None,
    "discount_share": None,
    "spend_contract_id": None,
    "spend_discount_share": None,
    "allowance_group": None,
    "allowance_contract_id": None,
    "allowance_source_name": None,
    "allowance_period_type": None,
    "allowance_units": None,
    "allowance_evidence": None,
}


def test_listed_price_shows_currency_multipliers_and_rate_of_exchange():
    assert charge_lines(CHARGE, CALL) == [
        "input: 250,000 x 0.000002376 USD = 0.594 USD at list price",
        (
            "  listed: 0.000002 EUR x 1.1 (region multiplier) x 1.08 (USD per EUR) = 0.000002376 USD by prices, eu; "
            "evidence: page 3"
        ),
        "  contracted: 250,000 x 0.000002376 USD = 0.594 USD",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"price_kind_type": "output", "unit_kind_type": "reasoning"},
            "  fallback: the price of output stands in, none of its own is listed",
        ),
        ({"rate_service_tier": "standard"}, "  fallback: the tier priority lists none, standard stands in"),
        (
            {"rate_context_over_tokens": 200_000},
            "  threshold: the price for more than 200,000 input tokens (strict rule); the call has 250,000",
        ),
        (
            {"rate_context_over_tokens": 199_999, "rate_context_up_to_tokens": 300_000, "is_threshold_inclusive": True},
            (
                "  threshold: the price for 200,000 or more input tokens, up to 300,000 (inclusive rule); "
                "the call has 250,000"
            ),
        ),
        # 6,750 = 4 x 1,440 + 990, and 990 minutes are 16:30.
        (
            {"rate_week_minute_from": 6_750, "rate_week_minute_to": 7_230},
            "  window of the week: Friday 16:30 to Saturday 00:30 UTC",
        ),
        (
            {
                "contract_id": "ours",
                "contract_term_type": "percentage_discount",
                "discount_share": Decimal("0.12000000"),
                "contract_evidence": "paragraph 4",
            },
            "  contract ours: 12 % off the list price; evidence: paragraph 4",
        ),
        (
            {
                "contract_id": "ours",
                "contract_term_type": "unit_price",
                "contract_unit_price": Decimal("0.0000015"),
                "contract_pricing_currency": "GBP",
                "contract_usd_per_currency_unit": Decimal("1.25"),
            },
            "  contract ours: 0.0000015 GBP per unit x 1.25 (USD per GBP); evidence: none",
        ),
        (
            {"spend_contract_id": "group", "spend_discount_share": Decimal("0.05")},
            "  enterprise discount group: 5 % off what remains",
        ),
    ],
)
def test_what_a_price_rests_on_is_a_line(changes: dict[str, Any], line: str):
    lines = charge_lines({**CHARGE, **changes}, CALL)
    assert line in lines
    assert line not in charge_lines(CHARGE, CALL)


def test_free_units_are_taken_from_the_quantity_and_name_their_allowance():
    # 5 searches at 0.014, of which 3 are free: 0.07 at list price and 2 x 0.014 = 0.028.
    lines = charge_lines(
        {
            **CHARGE,
            "unit_kind_type": "web_search",
            "quantity_units": Decimal("5.000"),
            "free_units": Decimal("3.000"),
            "list_usd_per_unit": Decimal("0.014"),
            "contracted_usd_per_unit": Decimal("0.014"),
            "list_cost_usd": Decimal("0.070"),
            "contracted_cost_usd": Decimal("0.028"),
            "allowance_group": "grounding",
            "allowance_source_name": "prices",
            "allowance_period_type": "day",
            "allowance_units": 1_500,
            "allowance_evidence": "page 9",
        },
        CALL,
    )
    assert lines[0] == "web_search: 5 x 0.014 USD = 0.07 USD at list price"
    assert lines[-2:] == [
        "  free: 3 of the 5 units, within the 1,500 a day (UTC) of the group grounding by prices; evidence: page 9",
        "  contracted: (5 - 3 = 2) x 0.014 USD = 0.028 USD",
    ]


def test_charges_sum_to_the_cost_of_the_call_or_it_says_so():
    lines = CallExplanation(CALL, [CHARGE]).lines()
    assert lines[0] == (
        "call-1 of gateway: openai gpt-4.1-eu (priced as gpt-4.1), tier priority, region eu, "
        "2026-07-10T17:00:00+00:00, priced"
    )
    assert lines[-3:] == [
        "list cost: 0.594 USD, the sum of the charges",
        "contracted cost: 0.594 USD, the sum of the charges",
        "effective cost: 0.594 USD, the contracted cost",
    ]
    wrong = CallExplanation({**CALL, "list_cost_usd": Decimal("0.594000000000001")}, [CHARGE]).lines()
    assert wrong[-3] == "list cost: 0.594000000000001 USD; THE CHARGES SUM TO 0.594: report this as a defect"


@pytest.mark.parametrize(
    ("reason", "changes", "words"),
    [
        ("missing_token_count", {}, ["no token count", "map input_tokens and output_tokens of the source gateway"]),
        ("unknown_model", {}, ["no rate card lists gpt-4.1-eu", "seed_model_aliases.csv the row `openai,gpt-4.1-eu,"]),
        ("unknown_model", {"provider_name": None}, ["named no provider", "map provider_name"]),
        ("no_rate_on_that_day", {}, ["on 2026-07-10, tier priority", "valid_from 2026-07-10 or before"]),
        ("no_price_for_unit_kind", {}, ["no price of image", "unit_kind image", "term_type unit_price"]),
    ],
)
def test_unpriced_call_says_why_and_which_row_prices_it(reason: str, changes: dict[str, Any], words: list[str]):
    call = {
        **CALL,
        **changes,
        "pricing_status_type": "unpriced",
        "unpriced_reason_type": reason,
        "list_cost_usd": None,
        "contracted_cost_usd": None,
        "effective_cost_usd": None,
    }
    unpriced = {
        **CHARGE,
        "unit_kind_type": "image",
        **dict.fromkeys(("list_usd_per_unit", "contracted_usd_per_unit", "list_cost_usd", "contracted_cost_usd")),
    }
    text = "\n".join(next_step(call, [CHARGE, unpriced]))
    assert [word for word in [f"unpriced ({reason})", *words] if word not in text] == []
    lines = CallExplanation(call, [CHARGE, unpriced]).lines()
    assert "image: 250,000 units have no price" in lines
    assert "\n".join(lines).endswith(text)


def test_call_priced_in_an_unknown_currency_says_which_rate_of_exchange_is_missing():
    abroad = {**CHARGE, "pricing_currency": "CNY", "contracted_cost_usd": None, "contract_pricing_currency": None}
    assert next_step({**CALL, "unpriced_reason_type": "no_exchange_rate"}, [CHARGE, abroad]) == [
        "unpriced (no_exchange_rate): no rate of exchange of CNY is known for 2026-07-10",
        "next: add to seed_exchange_rates.csv `CNY,2026-07-10,<usd_per_currency_unit>,<evidence>`",
    ]


def test_call_on_bought_capacity_shows_its_share_of_the_hour():
    # 0.25 of 0.75 USD are a third.
    call = {**CALL, "effective_cost_usd": Decimal("0.25"), "deployment_id": "ptu", "pricing_status_type": "provisioned"}
    hour = {"commitment_id": "pool", "used_tokens": 6_000, "used_cost_usd": Decimal("0.75"), "call_count": 3}
    assert capacity_lines(call, hour) == [
        (
            "effective cost: 0.25 USD, its share by work (33.3333 %) of the 0.75 USD that 3 calls with 6,000 weighted "
            "tokens used of pool in that hour, deployment ptu"
        )
    ]
    lines = CallExplanation({**call, "contracted_cost_usd": Decimal(0)}, [CHARGE], hour).lines()
    assert lines[-2] == "contracted cost: 0 USD, bought capacity served it"
    assert not any(line.startswith("  contracted:") for line in lines)


def test_json_holds_amounts_as_exact_text():
    content = CallExplanation(CALL, [CHARGE]).as_json()
    assert content["charged_list_usd"] == "0.594000000000000"
    assert content["charges"][0]["list_usd_per_unit"] == "0.000002376000000"
    assert content["call"]["called_at"] == "2026-07-10 17:00:00+00:00"
    assert content["capacity_hour"] is None


@pytest.mark.parametrize(("minute", "name"), [(0, "Monday 00:00"), (1_439, "Monday 23:59"), (10_080, "Monday 00:00")])
def test_minutes_of_the_week_have_names(minute: int, name: str):
    assert week_instant(minute) == name
