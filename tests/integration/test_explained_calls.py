"""Calls that are priced by everything that can bear on a price, explained from the warehouse that priced them.

The company has a card of its own: in euros with a regional and a tier's multiplier, with an off-peak window that wraps
midnight, with a context threshold. Two contract prices hold in part of the card's room, and 5 % go off all spend.
"""

import pytest

from dagster_project.explain import find_calls
from dagster_project.settings import load_settings
from dagster_project.sources import discover
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.landing import Landing, LandingZone, pull_source
from dagster_project.warehouse.raw import refresh_views
from tests.integration.small_company import SEED_HEADERS
from tests.sources.pulling import NOW

pytestmark = pytest.mark.integration

CONFIG = """\
organization: Explained
start_date: 2026-03-01
as_of: 2026-03-31T00:00:00Z
reference_dir: reference
sources:
  - name: gateway
    kind: table_files
    path: calls.csv
    format: csv
    timestamp: {format: iso}
    input_includes_cache: true
    constants: {provider_name: mill}
    columns: {event_at: at, call_id: id, model_name: model, region_id: region, service_tier: tier,
              input_tokens: tokens_in, output_tokens: tokens_out}
  - {name: contracts, kind: contract_files, path: terms.csv}
"""
EXCHANGE_RATES = """\
pricing_currency,valid_from_date,usd_per_currency_unit,evidence
EUR,2026-01-01,1.08,Treasury
EUR,2026-03-01,1.25,Treasury
"""
TERMS = """\
contract_id,model_pattern,term_type,unit_kind,price_per_million,pricing_currency,discount_share,multiplier,service_tier,\
region_id,context_over_tokens,off_peak_window_utc,is_list,evidence,provider_name,valid_from
card,euro,unit_price,input,2,EUR,,,,,,,true,Page 1,mill,2026-01-01
card,euro,unit_price,output,8,EUR,,,,,,,true,Page 1,mill,2026-01-01
card,euro,multiplier,,,,,1.1,,eu,,,,Page 2,mill,2026-01-01
card,euro,multiplier,,,,,2,priority,,,,,Page 3,mill,2026-01-01
card,night,unit_price,input,1.00,USD,,,,,,,true,Page 4,mill,2026-01-01
card,night,unit_price,input,0.50,USD,,,,,,16:30-00:30,true,Page 5,mill,2026-01-01
card,night,unit_price,output,4.00,USD,,,,,,,true,Page 4,mill,2026-01-01
deal,night,unit_price,output,3.20,USD,,,,,,22:00-02:00,,Paragraph 6,mill,2026-01-01
card,long,unit_price,input,3,USD,,,,,,,true,Page 7,mill,2026-01-01
card,long,unit_price,input,6,USD,,,,,200000,,true,Page 7,mill,2026-01-01
card,long,unit_price,output,15,USD,,,,,,,true,Page 7,mill,2026-01-01
deal,long,unit_price,input,5,USD,,,,,200000,,,Paragraph 8,mill,2026-01-01
group,*,spend_discount,,,,0.05,,,,,,,Paragraph 9,mill,2026-01-01
"""
CALLS = """\
at,id,model,region,tier,tokens_in,tokens_out
2026-03-04T12:00:00Z,abroad,euro,eu,priority,1000,100
2026-03-06T23:00:00Z,friday-night,night,,standard,1000,100
2026-03-08T23:00:00Z,sunday-night,night,,standard,1000,0
2026-03-09T00:15:00Z,monday-night,night,,standard,1000,0
2026-03-10T12:00:00Z,noon,night,,standard,1000,100
2026-03-11T12:00:00Z,above,long,,standard,250000,1000
2026-03-11T12:00:00Z,at,long,,standard,200000,0
"""
SPEND = "  enterprise discount group: 5 % off what remains"
LINES = {
    # 2 x 1.1 x 2 x 1.25 = 5.5 and 8 x 2.75 = 22 USD per million, less 5 %: 5.225 and 20.9.
    "abroad": [
        "abroad of gateway: mill euro, tier priority, region eu, 2026-03-04T12:00:00+00:00, priced",
        "input: 1,000 x 0.0000055 USD = 0.0055 USD at list price",
        (
            "  listed: 0.000002 EUR x 1.1 (region multiplier) x 2 (tier multiplier) x 1.25 (USD per EUR) = 0.0000055 "
            "USD by contracts, every region; evidence: Page 1"
        ),
        "  fallback: the tier priority lists none, standard stands in",
        SPEND,
        "  contracted: 1,000 x 0.000005225 USD = 0.005225 USD",
        "output: 100 x 0.000022 USD = 0.0022 USD at list price",
        (
            "  listed: 0.000008 EUR x 1.1 (region multiplier) x 2 (tier multiplier) x 1.25 (USD per EUR) = 0.000022 "
            "USD by contracts, every region; evidence: Page 1"
        ),
        "  fallback: the tier priority lists none, standard stands in",
        SPEND,
        "  contracted: 100 x 0.0000209 USD = 0.00209 USD",
        "list cost: 0.0077 USD, the sum of the charges",
        "contracted cost: 0.007315 USD, the sum of the charges",
        "effective cost: 0.007315 USD, the contracted cost",
    ],
    # Input is off-peak, and of output the contract's own hours hold: 0.50 x 0.95 = 0.475, 3.20 x 0.95 = 3.04.
    "friday-night": [
        "friday-night of gateway: mill night, tier standard, 2026-03-06T23:00:00+00:00, priced",
        "input: 1,000 x 0.0000005 USD = 0.0005 USD at list price",
        "  listed: 0.0000005 USD by contracts, every region; evidence: Page 5",
        "  window of the week: Friday 16:30 to Saturday 00:30 UTC",
        SPEND,
        "  contracted: 1,000 x 0.000000475 USD = 0.000475 USD",
        "output: 100 x 0.000004 USD = 0.0004 USD at list price",
        "  listed: 0.000004 USD by contracts, every region; evidence: Page 4",
        "  contract deal: 0.0000032 USD per unit; evidence: Paragraph 6",
        "  window of the week: Friday 22:00 to Saturday 02:00 UTC",
        SPEND,
        "  contracted: 100 x 0.00000304 USD = 0.000304 USD",
        "list cost: 0.0009 USD, the sum of the charges",
        "contracted cost: 0.000779 USD, the sum of the charges",
        "effective cost: 0.000779 USD, the contracted cost",
    ],
    # A week ends on Sunday at midnight, and so does the window of its last night.
    "sunday-night": [
        "sunday-night of gateway: mill night, tier standard, 2026-03-08T23:00:00+00:00, priced",
        "input: 1,000 x 0.0000005 USD = 0.0005 USD at list price",
        "  listed: 0.0000005 USD by contracts, every region; evidence: Page 5",
        "  window of the week: Sunday 16:30 to Monday 00:00 UTC",
        SPEND,
        "  contracted: 1,000 x 0.000000475 USD = 0.000475 USD",
        "list cost: 0.0005 USD, the sum of the charges",
        "contracted cost: 0.000475 USD, the sum of the charges",
        "effective cost: 0.000475 USD, the contracted cost",
    ],
    "monday-night": [
        "monday-night of gateway: mill night, tier standard, 2026-03-09T00:15:00+00:00, priced",
        "input: 1,000 x 0.0000005 USD = 0.0005 USD at list price",
        "  listed: 0.0000005 USD by contracts, every region; evidence: Page 5",
        "  window of the week: Monday 00:00 to Monday 00:30 UTC",
        SPEND,
        "  contracted: 1,000 x 0.000000475 USD = 0.000475 USD",
        "list cost: 0.0005 USD, the sum of the charges",
        "contracted cost: 0.000475 USD, the sum of the charges",
        "effective cost: 0.000475 USD, the contracted cost",
    ],
    # By day the prices hold that are of no window: 1 x 0.95 and 4 x 0.95 = 3.8.
    "noon": [
        "noon of gateway: mill night, tier standard, 2026-03-10T12:00:00+00:00, priced",
        "input: 1,000 x 0.000001 USD = 0.001 USD at list price",
        "  listed: 0.000001 USD by contracts, every region; evidence: Page 4",
        SPEND,
        "  contracted: 1,000 x 0.00000095 USD = 0.00095 USD",
        "output: 100 x 0.000004 USD = 0.0004 USD at list price",
        "  listed: 0.000004 USD by contracts, every region; evidence: Page 4",
        SPEND,
        "  contracted: 100 x 0.0000038 USD = 0.00038 USD",
        "list cost: 0.0014 USD, the sum of the charges",
        "contracted cost: 0.00133 USD, the sum of the charges",
        "effective cost: 0.00133 USD, the contracted cost",
    ],
    # The whole input at 6, under contract 5 x 0.95 = 4.75; output has no threshold: 15 x 0.95 = 14.25.
    "above": [
        "above of gateway: mill long, tier standard, 2026-03-11T12:00:00+00:00, priced",
        "input: 250,000 x 0.000006 USD = 1.5 USD at list price",
        "  listed: 0.000006 USD by contracts, every region; evidence: Page 7",
        "  threshold: the price for more than 200,000 input tokens (strict rule); the call has 250,000",
        "  contract deal: 0.000005 USD per unit; evidence: Paragraph 8",
        "  threshold: the price for more than 200,000 input tokens (strict rule); the call has 250,000",
        SPEND,
        "  contracted: 250,000 x 0.00000475 USD = 1.1875 USD",
        "output: 1,000 x 0.000015 USD = 0.015 USD at list price",
        "  listed: 0.000015 USD by contracts, every region; evidence: Page 7",
        SPEND,
        "  contracted: 1,000 x 0.00001425 USD = 0.01425 USD",
        "list cost: 1.515 USD, the sum of the charges",
        "contracted cost: 1.20175 USD, the sum of the charges",
        "effective cost: 1.20175 USD, the contracted cost",
    ],
    # The threshold itself is not above it: 200,000 x 3 = 0.6, less 5 %.
    "at": [
        "at of gateway: mill long, tier standard, 2026-03-11T12:00:00+00:00, priced",
        "input: 200,000 x 0.000003 USD = 0.6 USD at list price",
        "  listed: 0.000003 USD by contracts, every region; evidence: Page 7",
        SPEND,
        "  contracted: 200,000 x 0.00000285 USD = 0.57 USD",
        "list cost: 0.6 USD, the sum of the charges",
        "contracted cost: 0.57 USD, the sum of the charges",
        "effective cost: 0.57 USD, the contracted cost",
    ],
}


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is said of each call, by its id."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "reference").mkdir()
    for name, text in (
        ("company.yaml", CONFIG),
        ("terms.csv", TERMS),
        ("calls.csv", CALLS),
        *((f"reference/{name}.csv", f"{header}\n") for name, header in SEED_HEADERS.items()),
        ("reference/seed_exchange_rates.csv", EXCHANGE_RATES),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    settings = load_settings(config_path=folder / "company.yaml", state_dir=folder / "state", environ={})
    zone = LandingZone(settings.landing_dir)
    for source in settings.sources:
        connector = discover()[source.kind]
        [landing] = pull_source(zone, connector, source, now=NOW, reference_dir=settings.reference_dir)
        assert isinstance(landing, Landing)
        assert landing.rows_rejected == 0
    with open_warehouse(settings) as con:
        refresh_views(con, zone, discover().values())
    nodes = DbtProject(settings).build(
        ["+fct_call_charges", "+dim_allowances"], exclude=["resource_type:test", "resource_type:unit_test"]
    )
    assert [(node.name, node.message) for node in nodes if not node.is_ok] == []
    with open_warehouse(settings) as con:
        return {call: [line for item in find_calls(con, call) for line in item.lines()] for call in LINES}


@pytest.mark.parametrize("call", LINES)
def test_call_is_explained_to_the_last_digit(explained: dict[str, list[str]], call: str):
    assert explained[call] == LINES[call]
