"""The providers' invoices in FOCUS 1.2: what the calls cost, what was bought, and what no call explains.

One file per provider and calendar month, CSV from the closed APIs and Parquet from the clouds. A call-driven
line is one model, tier, token kind and price, rounded to cents as billed; a month that the demo period cuts
is billed for the days inside it.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from dagster_project.demo import company
from dagster_project.demo.calls import UsageLedger
from dagster_project.demo.feed_files import write_frame
from dagster_project.demo.plan import Plan
from dagster_project.demo.rates import RateBook, UnitPrice, billed_tokens
from dagster_project.demo.truths import InvoiceDifferenceTruth, InvoiceLineTruth, InvoiceTruth

_USD: Final = "USD"
_CENT: Final = Decimal("0.01")
_PER_MILLION: Final = Decimal(1_000_000)
_TAX: Final = "Tax"
_USAGE: Final = "Usage"
_CREDIT: Final = "Credit"
_PURCHASE: Final = "Purchase"
_AI_SERVICE: Final = ("AI and Machine Learning", "Generative AI")


@dataclass(frozen=True, slots=True)
class _OtherCharge:
    """A charge of every month that no call explains."""

    description: str
    charge_category: str
    billed_amount: Decimal
    service_category: str
    service_subcategory: str
    bom_layer_type: str
    tagged_use_case_id: str | None = None
    tagged_team_name: str | None = None

    @property
    def tags_json(self) -> str | None:
        """The tags as an invoice has them."""
        tags = {"use_case_id": self.tagged_use_case_id, "team": self.tagged_team_name}
        given = {key: value for key, value in tags.items() if value is not None}
        return json.dumps(given) if given else None


@dataclass(frozen=True, slots=True)
class _Biller:
    """How a provider bills; amounts are in its billing currency."""

    billed_provider_name: str
    billing_account_id: str
    file_format: str
    tax_share: Decimal
    other_charges: tuple[_OtherCharge, ...]
    billing_currency: str = _USD


# Usage that no telemetry shows; it is on one invoice only.
_DIFFERENCE: Final = _OtherCharge(
    "Playground and workbench usage", _USAGE, Decimal("412.37"), *_AI_SERVICE, "model_calls"
)

_STORAGE: Final = ("Storage", "Object Storage")
_NETWORK: Final = ("Networking", "Network Connectivity")
_DATABASES: Final = ("Databases", "NoSQL Databases")
_MANAGEMENT: Final = ("Management and Governance", "Observability")
_SUPPORT: Final = ("Other", "Other (Other)")

VECTOR_STORAGE: Final = _OtherCharge(
    "Vector store storage",
    _USAGE,
    Decimal("96.30"),
    *_STORAGE,
    "vector_store",
    company.INTERNAL_SEARCH,
    company.SEARCH_TEAM,
)

BILLERS: Final = {
    company.AZURE: _Biller(
        "Microsoft",
        "ba-novaspark-azure",
        "parquet",
        Decimal("0.00"),
        (
            _OtherCharge("Internet egress", _USAGE, Decimal("318.44"), *_NETWORK, "egress"),
            _OtherCharge(
                "Vector store, search units",
                _USAGE,
                Decimal("1471.20"),
                *_DATABASES,
                "vector_store",
                company.DOCUMENT_DRAFTING,
                company.AGENTS_TEAM,
            ),
            _OtherCharge("Log analytics ingestion", _USAGE, Decimal("264.91"), *_MANAGEMENT, "logging"),
            _OtherCharge("Standard support plan", _USAGE, Decimal("100.00"), *_SUPPORT, "support"),
            _OtherCharge("Migration credit", _CREDIT, Decimal("-750.00"), *_AI_SERVICE, "credit"),
        ),
    ),
    company.OPENAI: _Biller(
        "OpenAI",
        "org-novaspark",
        "csv",
        Decimal("0.0825"),
        (
            VECTOR_STORAGE,
            _OtherCharge(
                "Service credit, incident of the month before", _CREDIT, Decimal("-25.00"), *_AI_SERVICE, "credit"
            ),
        ),
    ),
    company.SELF_HOSTED: _Biller(
        "Northlight GPU Cloud",
        "ngc-novaspark",
        "parquet",
        Decimal("0.00"),
        (
            _OtherCharge("Block storage for model weights", _USAGE, Decimal("412.00"), *_STORAGE, "storage"),
            _OtherCharge("Internet egress", _USAGE, Decimal("57.18"), *_NETWORK, "egress"),
        ),
    ),
    company.TOGETHER: _Biller(
        "Together AI",
        "tg-novaspark",
        "csv",
        Decimal("0.0600"),
        (
            _OtherCharge(
                "Request logging", _USAGE, Decimal("38.75"), *_MANAGEMENT, "logging", None, company.SEARCH_TEAM
            ),
        ),
    ),
    # Bills in euros, and for nothing that a call causes by itself.
    company.AEGIS: _Biller(
        "Aegis",
        "ag-novaspark",
        "csv",
        Decimal("0.00"),
        (
            _OtherCharge("Guardrail checks", _USAGE, Decimal("480.00"), *_AI_SERVICE, "guardrails"),
            _OtherCharge(
                "Human review of flagged answers",
                _USAGE,
                Decimal("1250.00"),
                *_AI_SERVICE,
                "human_review",
                company.SUPPORT_CHAT,
                company.SUPPORT_TEAM,
            ),
        ),
        company.EURO,
    ),
}

_MONEY_COLUMNS: Final = [
    "BilledCost",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "ListCost",
    "ListUnitPrice",
    "ConsumedQuantity",
    "PricingQuantity",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "CommitmentDiscountQuantity",
]
_TIME_COLUMNS: Final = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
_COLUMNS: Final = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "CapacityReservationId",
    "CapacityReservationStatus",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "CommitmentDiscountUnit",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
]

_Row = dict[str, str | Decimal | date | None]


class _Meter(NamedTuple):
    """What one call-driven line is about."""

    model_name: str
    service_tier: str
    unit_kind: str
    list_usd: Decimal
    contracted_usd: Decimal


@dataclass(frozen=True, slots=True)
class _Metered:
    """Tokens of one meter in one month, and the days on which they were used."""

    tokens: int
    first_day: int
    last_day: int


@dataclass(frozen=True, slots=True)
class _Period:
    """One calendar month and the part of it that the demo covers; ends are exclusive."""

    month: date
    month_end: date
    start: date
    end: date


def write_invoices(
    plan: Plan, ledger: UsageLedger, rates: RateBook, folder: Path
) -> tuple[tuple[InvoiceTruth, ...], InvoiceDifferenceTruth]:
    """Write all invoices.

    Args:
        plan: The demo's plan.
        ledger: All good calls of the period.
        rates: The prices that hold.
        folder: Where the files go.

    Returns:
        What was invoiced, by provider and month, and the planted difference.
    """
    meters = _meters(plan, ledger, rates)
    difference_month = plan.date_of(plan.prompt_day).replace(day=1)
    truths = []
    for provider_name in sorted(BILLERS):
        for period in _periods(plan):
            has_difference = provider_name == company.OPENAI and period.month == difference_month
            unseen = (_DIFFERENCE,) if has_difference else ()
            truth, rows = _invoice(plan, provider_name, period, meters[provider_name, period.month], unseen)
            _write(rows, folder.parent / truth.file)
            truths.append(truth)
    difference = next(
        truth for truth in truths if truth.provider_name == company.OPENAI and truth.period_month == difference_month
    )
    return tuple(truths), InvoiceDifferenceTruth(
        provider_name=company.OPENAI,
        period_month=difference_month,
        invoice_id=difference.invoice_id,
        line_name=_DIFFERENCE.description,
        amount_usd=_DIFFERENCE.billed_amount,
    )


def _meters(plan: Plan, ledger: UsageLedger, rates: RateBook) -> dict[tuple[str, date], dict[_Meter, _Metered]]:
    """Sum billed tokens by provider, month, meter and price."""
    meters: dict[tuple[str, date], dict[_Meter, _Metered]] = defaultdict(dict)
    for key, day, usage in ledger.billed():
        of_month = meters[key.provider_name, plan.date_of(day).replace(day=1)]
        for unit_kind, tokens in billed_tokens(key, usage):
            if not tokens:
                continue
            price: UnitPrice = rates.unit_price(key, unit_kind, day)
            meter = _Meter(key.model_name, key.service_tier, unit_kind, price.list_usd, price.contracted_usd)
            known = of_month.get(meter, _Metered(0, day, day))
            of_month[meter] = _Metered(known.tokens + tokens, min(known.first_day, day), max(known.last_day, day))
    return meters


def _periods(plan: Plan) -> Iterator[_Period]:
    start = plan.start_date
    while start < plan.end_date:
        month = start.replace(day=1)
        month_end = (month + timedelta(days=32)).replace(day=1)
        yield _Period(month, month_end, start, min(month_end, plan.end_date))
        start = month_end


def _invoice(
    plan: Plan,
    provider_name: str,
    period: _Period,
    meters: dict[_Meter, _Metered],
    unseen: tuple[_OtherCharge, ...],
) -> tuple[InvoiceTruth, list[_Row]]:
    biller = BILLERS[provider_name]
    invoice_id = f"{biller.billing_account_id}-{period.month:%Y%m}"
    call_rows = [
        _call_row(plan, meter, metered)
        for meter, metered in sorted(meters.items(), key=lambda item: (*item[0][:3], item[1].first_day))
    ]
    purchase_rows = [
        _purchase_row(commitment, period)
        for commitment in company.COMMITMENTS
        if commitment.provider_name == provider_name
    ]
    other_charges = list(biller.other_charges)
    other_rows = [_other_row(charge, period) for charge in other_charges]
    taxable = _billed([*call_rows, *purchase_rows, *other_rows])
    tax = (taxable * biller.tax_share).quantize(_CENT, ROUND_HALF_UP)
    if tax > 0:
        other_charges.append(_OtherCharge("Sales tax", _TAX, tax, *_SUPPORT, "tax"))
    other_charges.extend(unseen)
    other_rows = [_other_row(charge, period) for charge in other_charges]
    rows = [*call_rows, *purchase_rows, *other_rows]
    common: _Row = {
        "BillingAccountId": biller.billing_account_id,
        "BillingAccountName": "NovaSpark Inc.",
        "BillingAccountType": "Organization",
        "BillingCurrency": biller.billing_currency,
        "BillingPeriodStart": period.month,
        "BillingPeriodEnd": period.month_end,
        "InvoiceId": invoice_id,
        "InvoiceIssuerName": biller.billed_provider_name,
        "PricingCurrency": biller.billing_currency,
        "ProviderName": biller.billed_provider_name,
        "PublisherName": biller.billed_provider_name,
    }
    usd_per_currency_unit = _usd_per_unit(biller.billing_currency, period.start)
    truth = InvoiceTruth(
        provider_name=provider_name,
        billed_provider_name=biller.billed_provider_name,
        billing_account_id=biller.billing_account_id,
        invoice_id=invoice_id,
        period_month=period.month,
        file=f"invoices/{provider_name}_{period.month:%Y-%m}.{biller.file_format}",
        list_cost_usd=_sum(metered.tokens * meter.list_usd for meter, metered in meters.items()),
        contracted_cost_usd=_sum(metered.tokens * meter.contracted_usd for meter, metered in meters.items()),
        call_lines_usd=_billed(call_rows),
        call_line_count=len(call_rows),
        purchase_lines=tuple(
            InvoiceLineTruth(str(row["ChargeDescription"]), _PURCHASE, Decimal(str(row["BilledCost"])), "capacity")
            for row in purchase_rows
        ),
        other_lines=tuple(
            InvoiceLineTruth(
                charge.description,
                charge.charge_category,
                charge.billed_amount * usd_per_currency_unit,
                charge.bom_layer_type,
                charge.tagged_use_case_id,
                charge.tagged_team_name,
            )
            for charge in other_charges
        ),
        billing_currency=biller.billing_currency,
        usd_per_currency_unit=usd_per_currency_unit,
        total_usd=_billed(rows) * usd_per_currency_unit,
    )
    return truth, [{**common, **row} for row in rows]


def _call_row(plan: Plan, meter: _Meter, metered: _Metered) -> _Row:
    """Build a call-driven line: exact list and contracted cost, billed in cents."""
    millions = metered.tokens / _PER_MILLION
    list_price, contracted_price = meter.list_usd * _PER_MILLION, meter.contracted_usd * _PER_MILLION
    contracted = millions * contracted_price
    billed = contracted.quantize(_CENT, ROUND_HALF_UP)
    sku = f"{meter.model_name}/{meter.service_tier}/{meter.unit_kind}"
    return {
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ListCost": millions * list_price,
        "ContractedCost": contracted,
        "ListUnitPrice": list_price,
        "ContractedUnitPrice": contracted_price,
        "PricingQuantity": millions,
        "PricingUnit": "1000000 Tokens",
        "ConsumedQuantity": Decimal(metered.tokens),
        "ConsumedUnit": "Tokens",
        "ChargeCategory": _USAGE,
        "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"{meter.model_name}, {meter.service_tier}, {meter.unit_kind} tokens",
        "ChargePeriodStart": plan.date_of(metered.first_day),
        "ChargePeriodEnd": plan.date_of(metered.last_day + 1),
        "PricingCategory": "Standard",
        "ServiceCategory": _AI_SERVICE[0],
        "ServiceSubcategory": _AI_SERVICE[1],
        "ServiceName": "Model inference",
        "SkuId": sku,
        "SkuMeter": f"{meter.unit_kind} tokens",
        "SkuPriceId": f"{sku}@{contracted_price.normalize():f}",
        "SkuPriceDetails": f'{{"x_ModelId":"{meter.model_name}","x_ServiceTier":"{meter.service_tier}"}}',
    }


def _purchase_row(commitment: company.Commitment, period: _Period) -> _Row:
    """Bill a commitment by the hour, used or not; nothing is paid ahead, so billed equals effective."""
    unit_hours = Decimal(commitment.bought_units * (period.end - period.start).days * 24)
    cost = unit_hours * commitment.usd_per_unit_hour
    billed = cost.quantize(_CENT, ROUND_HALF_UP)
    return {
        "BilledCost": billed,
        "EffectiveCost": billed,
        "ListCost": cost,
        "ContractedCost": cost,
        "ListUnitPrice": commitment.usd_per_unit_hour,
        "ContractedUnitPrice": commitment.usd_per_unit_hour,
        "PricingQuantity": unit_hours,
        "PricingUnit": "Unit-Hours",
        "ChargeCategory": _PURCHASE,
        "ChargeFrequency": "Recurring",
        "ChargeDescription": commitment.line_name,
        "ChargePeriodStart": period.start,
        "ChargePeriodEnd": period.end,
        "CommitmentDiscountId": commitment.commitment_id,
        "CommitmentDiscountCategory": "Usage",
        "CommitmentDiscountName": commitment.line_name,
        "CommitmentDiscountType": "Reservation",
        "CommitmentDiscountQuantity": unit_hours,
        "CommitmentDiscountUnit": "Unit-Hours",
        "PricingCategory": "Committed",
        "ServiceCategory": _AI_SERVICE[0],
        "ServiceSubcategory": _AI_SERVICE[1],
        "ServiceName": "Provisioned capacity",
        "SkuId": commitment.commitment_id,
        "SkuMeter": "unit hours",
        "SkuPriceId": f"{commitment.commitment_id}@{commitment.usd_per_unit_hour}",
    }


def _other_row(charge: _OtherCharge, period: _Period) -> _Row:
    return {
        "BilledCost": charge.billed_amount,
        "EffectiveCost": charge.billed_amount,
        "ListCost": charge.billed_amount,
        "ContractedCost": charge.billed_amount,
        "ChargeCategory": charge.charge_category,
        "ChargeFrequency": "Recurring" if charge.charge_category == _USAGE else "One-Time",
        "ChargeDescription": charge.description,
        "ChargePeriodStart": period.start,
        "ChargePeriodEnd": period.end,
        "ServiceCategory": charge.service_category,
        "ServiceSubcategory": charge.service_subcategory,
        "ServiceName": charge.description,
        "Tags": charge.tags_json,
    }


def _usd_per_unit(currency: str, day: date) -> Decimal:
    """Return the rate of exchange that holds on a day."""
    if currency == _USD:
        return Decimal(1)
    return company.USD_PER_EURO[max(first for first in company.USD_PER_EURO if first <= day)]


def _sum(amounts: Iterator[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def _billed(rows: list[_Row]) -> Decimal:
    return _sum(Decimal(str(row["BilledCost"])) for row in rows)


def _write(rows: list[_Row], path: Path) -> None:
    """Lay rows out in the specification's columns; decimals stay exact in both formats."""
    money, times = set(_MONEY_COLUMNS), set(_TIME_COLUMNS)
    types: dict[str, pl.DataType] = {
        name: pl.Decimal(38, 18) if name in money else pl.Date() if name in times else pl.String() for name in _COLUMNS
    }
    frame = pl.DataFrame([{name: row.get(name) for name in _COLUMNS} for row in rows], schema=types)
    if path.suffix == ".csv":
        write_frame(frame.with_columns(pl.col(_TIME_COLUMNS).dt.strftime("%Y-%m-%dT00:00:00Z")), path, "csv")
    else:
        write_frame(frame.with_columns(pl.col(_TIME_COLUMNS).cast(pl.Datetime("us", "UTC"))), path, "parquet")
