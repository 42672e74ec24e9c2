"""Whatever comes late, is corrected or withdrawn, in whatever order: the tables are those of a rebuild from nothing.

Prices are stated in one file, whose terms come and go. No price changes
by what is held back as implausible, and none is in a currency without a rate of exchange, which is refused: what then
counts depends on what was believed before.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.integration.ledger import Ledger
from tests.integration.small_company import (
    ALL_DAYS,
    CONFIG,
    DAYS,
    QUIET_DAY,
    SmallCompany,
    calls_of,
    differing_tables,
    query,
)

pytestmark = pytest.mark.integration

# A model of the company's own card, one that only the catalogue may list, and a name that may be an alias of either.
MODELS = ("mill-large", "mill-small", "mill-nick")
CATALOGUE = "  - {name: catalogue, kind: llm_prices, path: catalogue.json}\n"
TERM_COLUMNS = (
    "contract_id", "provider_name", "model_pattern", "term_type", "unit_kind", "price_per_million", "pricing_currency",
    "discount_share", "allowance_units", "period_type", "valid_from", "valid_to", "is_list", "evidence",
)  # fmt: skip

Action = Callable[[SmallCompany], object]


# ---- what may happen


@dataclass(frozen=True)
class LateCalls:
    """A file of calls of a day, under a name of its own; the same name again is a correction of it."""

    name: str
    day: date
    model: str
    tokens_in: tuple[int, ...]

    def __call__(self, company: SmallCompany) -> None:
        rows = [
            f"{self.day}T09:{index:02}:00Z,{self.name}-{index},{self.model},support,run-{self.day}-10,{tokens},0,100,"
            for index, tokens in enumerate(self.tokens_in)
        ]
        company.write_calls(f"late-{self.name}.csv", rows)


@dataclass(frozen=True)
class CorrectedDay:
    """The day's own file again, with fewer calls and another count of tokens in the first."""

    day: date
    kept_count: int
    tokens_in: int

    def __call__(self, company: SmallCompany) -> None:
        first, *others = calls_of(self.day)[: self.kept_count]
        company.write_calls(f"{self.day}.csv", [first.replace(",1000,", f",{self.tokens_in},"), *others])


@dataclass(frozen=True)
class Terms:
    """The contract as it stands from now on: a price that changes on a day, maybe a discount and free tokens.

    Attributes:
        prices: Per million input tokens before and from `change_date` on; None where none is stated.
        change_date: First day of the second price.
        currency: In which both are stated.
        discount: Share and days [from, to) of a discount; None for none.
        free: Free input tokens and the period; None for none.
    """

    prices: tuple[int | None, int | None] = (2, 2)
    change_date: date = DAYS[6]
    currency: str = "USD"
    discount: tuple[str, date, date] | None = None
    free: tuple[int, str] | None = None

    def __call__(self, company: SmallCompany) -> None:
        rows = [_price("output", 10, "USD", "2026-01-01", "")]
        before, after = self.prices
        if before is not None:
            rows.append(_price("input", before, self.currency, "2026-01-01", f"{self.change_date}"))
        if after is not None:
            rows.append(_price("input", after, self.currency, f"{self.change_date}", ""))
        if self.discount is not None:
            share, first, after_last = self.discount
            rows.append(
                {
                    "contract_id": "rebate",
                    "model_pattern": "mill-*",
                    "term_type": "percentage_discount",
                    "discount_share": share,
                    "valid_from": f"{first}",
                    "valid_to": f"{after_last}",
                }
            )
        if self.free is not None:
            units, period = self.free
            rows.append(
                {
                    "contract_id": "gift",
                    "model_pattern": "*",
                    "term_type": "free_allowance",
                    "unit_kind": "input",
                    "allowance_units": f"{units}",
                    "period_type": period,
                    "valid_from": "2026-01-01",
                }
            )
        stated = [{"provider_name": "mill", "evidence": "Contract", **row} for row in rows]
        company.write(
            "contracts/rates.csv",
            [",".join(TERM_COLUMNS), *(",".join(row.get(column, "") for column in TERM_COLUMNS) for row in stated)],
        )


def _price(unit_kind: str, price: int, currency: str, valid_from: str, valid_to: str) -> dict[str, str]:
    return {
        "contract_id": "card",
        "model_pattern": "mill-large",
        "term_type": "unit_price",
        "unit_kind": unit_kind,
        "price_per_million": f"{price}",
        "pricing_currency": currency,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "is_list": "true",
    }


@dataclass(frozen=True)
class Catalogue:
    """The catalogue's price of the small model before and from a day on."""

    prices: tuple[int, int]
    change_date: date

    def __call__(self, company: SmallCompany) -> None:
        bounds = ((None, f"{self.change_date}"), (f"{self.change_date}", None))
        history = [
            {"input": price, "output": 5, "from_date": first, "to_date": after_last}
            for price, (first, after_last) in zip(self.prices, bounds, strict=True)
        ]
        content = {"vendor": "mill", "models": [{"id": "mill-small", "name": "Small", "price_history": history}]}
        company.write("catalogue.json", [json.dumps(content)])


@dataclass(frozen=True)
class Reference:
    """The tables that people keep: dollars per euro, and which model a name is an alias of."""

    usd_per_eur: str
    alias_of: str | None

    def __call__(self, company: SmallCompany) -> None:
        header = "pricing_currency,valid_from_date,usd_per_currency_unit,evidence"
        company.write("reference/seed_exchange_rates.csv", [header, f"EUR,2026-01-01,{self.usd_per_eur},Treasury"])
        company.write_seed("seed_model_aliases", [f"mill,mill-nick,{self.alias_of},Memo"] if self.alias_of else [])


days = st.sampled_from(DAYS)
late_calls = st.builds(
    LateCalls,
    st.sampled_from(["a", "b"]),
    days,
    st.sampled_from(MODELS),
    st.lists(st.sampled_from([0, 500, 3_000]), min_size=1, max_size=3).map(tuple),
)
corrected_days = st.builds(
    CorrectedDay,
    st.sampled_from([day for day in DAYS if day != QUIET_DAY]),
    st.integers(1, 7),
    st.sampled_from([10, 9_000]),
)
price = st.sampled_from([None, 1, 2, 4])
discounts = st.tuples(st.sampled_from(["0.10", "0.25"]), days, st.integers(1, 4)).map(
    lambda drawn: (drawn[0], drawn[1], drawn[1] + timedelta(days=drawn[2]))
)
terms = st.builds(
    Terms,
    st.tuples(price, price),
    days,
    st.sampled_from(["USD", "USD", "EUR"]),
    st.none() | discounts,
    st.none() | st.tuples(st.sampled_from([4_000, 15_500]), st.sampled_from(["day", "month"])),
)
catalogues = st.builds(Catalogue, st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 3])), days)
references = st.builds(
    Reference, st.sampled_from(["1.08", "1.25"]), st.sampled_from([None, "mill-large", "mill-small"])
)
# Of every kind one, of terms two, in any order, two between one run and the next. A changed reference table has every
# day built again, which hides what was missed before it: it comes in some of the stories only.
stories = st.tuples(late_calls, late_calls | references, corrected_days, terms, terms, catalogues).flatmap(
    st.permutations
)
STEP_LENGTH = 2

# A late call of Tuesday takes free tokens from Wednesday's calls; what changes last touches Monday and Sunday only, so
# that a Wednesday which was missed stays as it was.
FREE = (15_500, "month")
SHIFTED_ALLOWANCE = [
    Terms(free=FREE),
    Catalogue((1, 3), DAYS[6]),
    LateCalls("a", DAYS[1], "mill-large", (3_000, 500)),
    LateCalls("b", DAYS[5], "mill-small", (3_000,)),
    Terms(prices=(2, 4), change_date=DAYS[6], discount=("0.10", DAYS[0], DAYS[1]), free=FREE),
    CorrectedDay(DAYS[6], 5, 9_000),
]


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> SmallCompany:
    """The small company with a catalogue, built once; only copied afterwards."""
    company = SmallCompany.found(tmp_path_factory.mktemp("founded") / "company")
    company.write("company.yaml", [CONFIG + CATALOGUE])
    Terms()(company)
    Reference("1.20", None)(company)
    Catalogue((1, 1), DAYS[0])(company)
    Ledger(company).run()
    return company


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any_order")


def _succeed(root: Path, copy_to: Callable[[Path], SmallCompany]) -> SmallCompany:
    """Copy a company to where that of the story before was; only what dbt parsed there stays, for it takes seconds."""
    parsed, kept = root / "state" / "dbt", root.with_suffix(".dbt")
    if root.exists():
        parsed.rename(kept)
        shutil.rmtree(root)
    company = copy_to(root)
    if kept.exists():
        parsed.parent.mkdir(exist_ok=True)
        kept.rename(parsed)
    return company


def _differing_rows(one: SmallCompany, other: SmallCompany) -> dict[str, int]:
    """Compare all marts but the history of what was believed of prices, which a rebuild cannot know."""
    paths = (one.settings.warehouse_path, other.settings.warehouse_path)
    differing = differing_tables(*paths, ("marts",))
    differing.pop("marts.dim_rates", None)
    charges = [Counter(query(path, "from marts.fct_call_charges")) for path in paths]
    if charges[0] != charges[1]:
        differing["marts.fct_call_charges"] = sum(((charges[0] - charges[1]) + (charges[1] - charges[0])).values())
    return differing


@given(story=stories)
@example(story=SHIFTED_ALLOWANCE)
@settings(max_examples=2, deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))
def test_any_sequence_of_changes_ends_in_the_tables_of_a_rebuild(
    founded: SmallCompany, workshop: Path, story: list[Action]
):
    ledger = Ledger(_succeed(workshop / "company", founded.copy_to))
    for first in range(0, len(story), STEP_LENGTH):
        for change in story[first : first + STEP_LENGTH]:
            change(ledger.company)
        ledger.run()
    rebuilt = Ledger(_succeed(workshop / "rebuilt", ledger.company.copy_without_state))
    rebuilt.run()
    assert ledger.failures == [[]] * 3
    assert (rebuilt.ranges, rebuilt.failures) == ([ALL_DAYS], [[]])
    assert _differing_rows(ledger.company, rebuilt.company) == {}, ledger.ranges
