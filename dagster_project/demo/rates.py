"""What a token costs NovaSpark on a day: list prices, the company's rate card and its negotiated discount.

OpenAI's list prices are read from the genai-prices package, the others from the company's rate card, which is
also written here as contract files. All prices are exact decimals per token; nothing is summed here.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl

from dagster_project.demo import company
from dagster_project.demo.calls import EMBEDDINGS, Usage, UsageKey
from dagster_project.demo.feed_files import write_frame
from dagster_project.demo.plan import Plan
from dagster_project.demo.truths import DiscountTruth, PriceChangeTruth
from dagster_project.errors import ConfigurationError

_PER_MILLION: Final = Decimal(1_000_000)
_PACKAGE_PRICES: Final = {"input": "input_mtok", "cache_read": "cache_read_mtok", "output": "output_mtok"}
_TERM_COLUMNS: Final = [
    "contract_id",
    "provider_name",
    "model_pattern",
    "term_type",
    "unit_kind",
    "usd_per_million",
    "discount_share",
    "service_tier",
    "valid_from",
    "valid_to",
    "signed_on",
    "is_list",
    "evidence",
]


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """Prices in USD per token before and after the discount."""

    list_usd: Decimal
    contracted_usd: Decimal


class RateBook:
    """The prices of the demo period."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rate_card = {
            (price.provider_name, price.model_pattern, price.service_tier, price.unit_kind): price
            for price in company.RATE_CARD
        }

    def unit_price(self, key: UsageKey, unit_kind: str, day: int) -> UnitPrice:
        """Return what one token of a kind (input, cache_read or output) costs on a 0-based day."""
        if key.provider_name == company.OPENAI:
            list_usd = _package_price(key.model_name, unit_kind, self._plan.date_of(day)) / _PER_MILLION
        else:
            price = self._rate_card[key.provider_name, key.model_name, key.service_tier, unit_kind]
            is_before = day < self._plan.price_change_day
            list_usd = (price.before_usd_per_million if is_before else price.after_usd_per_million) / _PER_MILLION
        is_discounted = key.provider_name == company.OPENAI and day >= self._plan.discount_day
        share = company.DISCOUNT_SHARE if is_discounted else Decimal(0)
        return UnitPrice(list_usd, list_usd * (1 - share))

    def list_cost_usd(self, key: UsageKey, usage: Usage, day: int) -> Decimal:
        """Return the exact list cost of usage on a 0-based day."""
        return sum(
            (tokens * self.unit_price(key, kind, day).list_usd for kind, tokens in billed_tokens(key, usage)),
            Decimal(0),
        )

    def price_changes(self) -> tuple[PriceChangeTruth, ...]:
        """Return the list prices that change inside the period."""
        return tuple(
            PriceChangeTruth(
                provider_name=price.provider_name,
                model_name=price.model_pattern,
                changed_on=self._plan.date_of(self._plan.price_change_day),
                service_tier=price.service_tier,
                unit_kind=price.unit_kind,
                before_usd_per_million=price.before_usd_per_million,
                after_usd_per_million=price.after_usd_per_million,
            )
            for price in company.RATE_CARD
            if price.before_usd_per_million != price.after_usd_per_million
        )

    def discount(self) -> DiscountTruth:
        """Return the negotiated discount."""
        return DiscountTruth(
            provider_name=company.OPENAI,
            contract_id=company.DISCOUNT_CONTRACT,
            valid_from=self._plan.date_of(self._plan.discount_day),
            discount_share=company.DISCOUNT_SHARE,
        )


def billed_tokens(key: UsageKey, usage: Usage) -> Iterator[tuple[str, int]]:
    """Yield the tokens of usage by priced kind; reasoning is billed as output, and so on every invoice."""
    yield "input", usage.input_tokens
    if key.operation_name != EMBEDDINGS:
        yield "cache_read", usage.cache_read_tokens
        yield "output", usage.output_tokens + usage.reasoning_tokens


def write_contracts(plan: Plan, folder: Path) -> None:
    """Write the contract files: one rate card per provider that has its own, and the discount contract."""
    terms = [*_rate_card_terms(plan), _discount_term(plan)]
    for provider_name in sorted({str(term["provider_name"]) for term in terms}):
        rows = [term for term in terms if term["provider_name"] == provider_name]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(_TERM_COLUMNS, pl.String), orient="row")
        write_frame(frame, folder / f"{provider_name}_terms.csv", "csv")


def _rate_card_terms(plan: Plan) -> Iterator[dict[str, str | None]]:
    """Yield the rate card as dated rows; `valid_to` is the first day on which a price no longer holds."""
    opening = date(plan.start_date.year, 1, 1)
    change = plan.date_of(plan.price_change_day)
    for price in company.RATE_CARD:
        changes = price.before_usd_per_million != price.after_usd_per_million
        periods = [(price.before_usd_per_million, opening, change if changes else None)]
        if changes:
            periods.append((price.after_usd_per_million, change, None))
        for usd_per_million, valid_from, valid_to in periods:
            yield {
                "contract_id": f"novaspark-{price.provider_name}-rate-card",
                "provider_name": price.provider_name,
                "model_pattern": price.model_pattern,
                "term_type": "unit_price",
                "unit_kind": price.unit_kind,
                "usd_per_million": format(usd_per_million, "f"),
                "discount_share": None,
                "service_tier": price.service_tier,
                "valid_from": valid_from.isoformat(),
                "valid_to": valid_to.isoformat() if valid_to else None,
                "signed_on": valid_from.isoformat(),
                "is_list": "true",
                "evidence": f"Price page of {price.provider_name}, copied on {valid_from.isoformat()}",
            }


def _discount_term(plan: Plan) -> dict[str, str | None]:
    valid_from = plan.date_of(plan.discount_day)
    return {
        "contract_id": company.DISCOUNT_CONTRACT,
        "provider_name": company.OPENAI,
        "model_pattern": "*",
        "term_type": "percentage_discount",
        "unit_kind": None,
        "usd_per_million": None,
        "discount_share": format(company.DISCOUNT_SHARE, "f"),
        "service_tier": None,
        "valid_from": valid_from.isoformat(),
        "valid_to": None,
        "signed_on": (valid_from - timedelta(days=14)).isoformat(),
        "is_list": "false",
        "evidence": "Enterprise agreement, amendment 2, paragraph 4",
    }


@functools.cache
def _package_price(model_name: str, unit_kind: str, on: date) -> Decimal:
    """Return OpenAI's list price in USD per million tokens from the genai-prices package."""
    # The package builds its whole catalogue when it is imported, which a finished demo does not need.
    from genai_prices import data  # noqa: PLC0415

    provider = next(provider for provider in data.providers if provider.id == company.OPENAI)
    model = provider.find_model(model_name)
    price = None
    if model is not None:
        prices = model.get_prices(datetime.combine(on, time(), UTC))
        price = getattr(prices, _PACKAGE_PRICES[unit_kind])
    if not isinstance(price, Decimal):
        raise ConfigurationError(
            f"tried to read the {unit_kind} price of {model_name} from genai-prices; observed {price!r}, "
            "expected one decimal. Next step: name a model in the demo that the installed package prices."
        )
    return price
