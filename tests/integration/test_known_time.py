"""What was believed of a price on a day, and what a wrong landing does to the price in force.

The company's own card says 2 USD per million tokens of input in January, 3 from its February version on, and in March,
by a slip of the unit, 3,000. Prices are compared per thousand tokens: 0.002, 0.003 and 3.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from dagster_project.settings import Settings
from dagster_project.sources import discover
from dagster_project.warehouse.connection import open_warehouse
from dagster_project.warehouse.dbt import DbtProject
from dagster_project.warehouse.landing import LandingZone, pull_source
from dagster_project.warehouse.raw import refresh_views
from tests.integration.small_company import SmallCompany, list_price

pytestmark = pytest.mark.integration

BELIEVED_SQL = """
    select accepted_unit_price * 1000
    from marts.dim_rates
    where unit_kind_type = 'input' and known_from_at <= $instant and known_to_at > $instant
        and valid_from_at <= $instant and valid_to_at > $instant
    qualify row_number() over (partition by rate_key order by valid_from_at desc, known_from_at desc) = 1
"""
VERSIONS = {1: "2.00", 2: "3.00", 3: "3000.00"}

Query = Callable[..., list[tuple[Any, ...]]]


def _at(month: int, day: int = 1) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC)


def _build(settings: Settings) -> Query:
    """Build everything that prices rest on, and give a way to ask."""
    with open_warehouse(settings) as con:
        refresh_views(con, LandingZone(settings.landing_dir), discover().values())
    nodes = DbtProject(settings).build(
        ["+dim_rates", "+int_pricing__rates"], exclude=["resource_type:test", "resource_type:unit_test"]
    )
    assert [(node.name, node.message) for node in nodes if not node.is_ok] == []

    def ask(sql: str, **params: object) -> list[tuple[Any, ...]]:
        with open_warehouse(settings) as con:
            return con.execute(sql, params or None).fetchall()

    return ask


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    company = SmallCompany.found(tmp_path_factory.mktemp("mill") / "company")
    (source,) = [item for item in company.settings.sources if item.kind == "contract_files"]
    for month, price in VERSIONS.items():
        company.write_terms("rates.csv", [list_price("input", price)])
        pull_source(LandingZone(company.settings.landing_dir), discover()["contract_files"], source, now=_at(month))
    return company


@pytest.fixture(scope="module")
def ask(company: SmallCompany) -> Query:
    return _build(company.settings)


@pytest.mark.parametrize(
    ("instant", "believed"),
    [(_at(1, 15), "0.002"), (_at(2, 15), "0.003"), (_at(3, 15), "0.003")],
    ids=["before the change", "after it", "after the slip, which is held back"],
)
def test_question_of_known_time_gives_what_was_believed(ask: Query, instant: datetime, believed: str):
    assert ask(BELIEVED_SQL, instant=instant) == [(Decimal(believed),)]


def test_nothing_was_believed_before_the_first_landing(ask: Query):
    assert ask(BELIEVED_SQL, instant=datetime(2025, 12, 31, tzinfo=UTC)) == []


def test_price_before_the_slip_stays_in_force(ask: Query):
    in_force = "select unit_price * 1000, is_price_held from intermediate.int_pricing__rates"
    assert ask(in_force) == [(Decimal("0.003"), True)]
    held = "select unit_price * 1000, change_multiplier, month(known_from_at) from intermediate.int_pricing__rates_held"
    assert ask(held) == [(Decimal(3), Decimal(1000), 3)]


def test_confirmation_puts_it_in_force(company: SmallCompany, ask: Query):
    assert ask("select count(*) from intermediate.int_pricing__rates_held") == [(1,)]
    company.write(
        "reference/seed_rate_confirmations.csv",
        [
            "source_name,provider_name,model_id,unit_kind,unit_price,confirmed_by,confirmed_on_date,reason",
            "contracts,mill,mill-large,input,0.003,Head,2026-03-20,New offer",
        ],
    )
    confirmed = _build(company.settings)
    in_force = "select unit_price * 1000, is_price_held from intermediate.int_pricing__rates"
    assert confirmed(in_force) == [(Decimal(3), False)]
