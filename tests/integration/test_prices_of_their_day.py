"""Calls of 2024 and 2025 are priced as of their own instant, from dated cards.

What the vendors asked, in USD per million tokens of input and output:

- OpenAI o3: 10 and 40 at its launch, 2 and 8 from 2025-06-10 (OpenAI, announcement of the o3 price drop; the
  genai-prices package dates it).
- OpenAI gpt-4o: 5 and 15 at its launch on 2024-05-13; 2.50 and 10 from 2024-10-02, when the name came to mean the
  snapshot of August (OpenAI, changelog of the API). Public catalogues know the present price only: the former is a card
  of the company's own.
- DeepSeek deepseek-chat: 0.27 and 1.10, half of it from 16:30 to 00:30 UTC (DeepSeek, price page of spring 2025).
"""

from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.settings import load_settings
from dagster_project.sources import discover
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.landing import LandingZone, pull_source
from dagster_project.warehouse.raw import refresh_views
from tests.integration.small_company import TERMS_HEADER
from tests.sources.pulling import NOW

pytestmark = pytest.mark.integration

CONFIG = """\
organization: Archive
start_date: 2024-05-01
as_of: 2026-01-01T00:00:00Z
sources:
  - name: calls
    kind: table_files
    path: calls.csv
    format: csv
    timestamp: {format: iso}
    input_includes_cache: true
    columns: {event_at: at, call_id: at, provider_name: provider, model_name: model, input_tokens: tokens_in,
              output_tokens: tokens_out}
  - {name: own_cards, kind: contract_files, path: cards.csv}
  - {name: list_prices, kind: genai_prices}
"""
CARDS = [
    f"gpt-4o-history,openai,gpt-4o,unit_price,{kind},{price},,standard,{valid_from},{valid_to},,true,OpenAI changelog"
    for kind, price, valid_from, valid_to in (
        ("input", "5.00", "2024-05-13", "2024-10-02"),
        ("output", "15.00", "2024-05-13", "2024-10-02"),
        ("input", "2.50", "2024-10-02", ""),
        ("output", "10.00", "2024-10-02", ""),
    )
]
# Each call has 1,000 tokens of input and 1,000 of output: a thousandth of the sum of its two prices per million.
CALLS = {
    ("openai", "o3", "2025-06-09T23:59:59Z"): Decimal("0.050"),  # 10 + 40
    ("openai", "o3", "2025-06-10T00:00:00Z"): Decimal("0.010"),  # 2 + 8
    ("openai", "gpt-4o", "2024-05-13T00:00:00Z"): Decimal("0.020"),  # 5 + 15
    ("openai", "gpt-4o", "2024-10-01T23:59:59Z"): Decimal("0.020"),  # 5 + 15
    ("openai", "gpt-4o", "2024-10-02T00:00:00Z"): Decimal("0.0125"),  # 2.50 + 10
    ("deepseek", "deepseek-chat", "2025-03-05T16:29:59Z"): Decimal("0.00137"),  # 0.27 + 1.10
    ("deepseek", "deepseek-chat", "2025-03-05T16:30:00Z"): Decimal("0.000685"),  # half of it
    ("deepseek", "deepseek-chat", "2025-03-06T00:29:59Z"): Decimal("0.000685"),
    ("deepseek", "deepseek-chat", "2025-03-06T00:30:00Z"): Decimal("0.00137"),
    # A window that wraps the week: Sunday night is off-peak until Monday 00:30.
    ("deepseek", "deepseek-chat", "2025-03-10T00:29:00Z"): Decimal("0.000685"),
}


def _write(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Decimal | None]:
    folder = tmp_path_factory.mktemp("archive")
    _write(folder / "company.yaml", CONFIG)
    _write(folder / "cards.csv", TERMS_HEADER, *CARDS)
    _write(
        folder / "calls.csv",
        "at,provider,model,tokens_in,tokens_out",
        *(f"{at},{provider},{model},1000,1000" for provider, model, at in CALLS),
    )
    settings = load_settings(config_path=folder / "company.yaml", state_dir=folder / "state", environ={})
    zone = LandingZone(settings.landing_dir)
    connectors = discover()
    for source in settings.sources:
        pull_source(zone, connectors[source.kind], source, now=NOW)
    with open_warehouse(settings) as con:
        refresh_views(con, zone, connectors.values())
    nodes = DbtProject(settings).build(["+fct_calls"], exclude=["resource_type:test", "resource_type:unit_test"])
    assert [(node.name, node.message) for node in nodes if not node.is_ok] == []
    with open_warehouse(settings) as con:
        rows = con.execute("select provider_name, model_name, call_id, list_cost_usd from marts.fct_calls").fetchall()
    return {(provider, model, call_id): cost for provider, model, call_id, cost in rows}


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_call_is_priced_as_of_its_own_instant(costs: dict[tuple[str, str, str], Decimal | None], call: tuple[str, ...]):
    assert costs[call] == CALLS[call]


def test_every_call_is_there(costs: dict[tuple[str, str, str], Decimal | None]):
    assert set(costs) == set(CALLS)
