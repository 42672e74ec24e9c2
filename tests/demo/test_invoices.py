"""Invoices against the calls: every line worked out again from the feed files and the price pages."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from tests.demo.conftest import Feeds
from tests.demo.feed_reading import spans, table

MILLION = Decimal(1_000_000)
CENT = Decimal("0.01")
DAY_NS = 86_400_000_000_000
OPENAI = {
    "gpt-4.1": {"input": "2", "cache_read": "0.5", "output": "8"},
    "o4-mini": {"input": "1.1", "cache_read": "0.275", "output": "4.4"},
    "text-embedding-3-small": {"input": "0.02"},
}
AZURE = {"input": "2", "cache_read": "0.5", "output": "8"}
TOGETHER = {"input": ("1.20", "0.90"), "cache_read": ("0.30", "0.225"), "output": ("1.20", "0.90")}

Usage = dict[tuple[str, str, str, date], int]


def _usage(feeds: Feeds) -> dict[str, Usage]:
    """Billable tokens by provider and (model, tier, kind, day), from the files alone."""
    usage: dict[str, Usage] = defaultdict(lambda: defaultdict(int))
    support = table(feeds.folder, "calls/support/*.parquet").filter(~pl.col("id").str.starts_with("bad-"))
    for row in support.iter_rows(named=True):
        model = row["model"].replace("-2025-04-16", "")
        day = row["started"].date()
        usage["openai"][model, "standard", "input", day] += row["prompt_tokens"] - row["prompt_tokens_cached"]
        usage["openai"][model, "standard", "cache_read", day] += row["prompt_tokens_cached"]
        usage["openai"][model, "standard", "output", day] += row["completion_tokens"]
    search = table(feeds.folder, "calls/search/search_*.csv").filter(pl.col("fresh_in") >= 0)
    search = search.filter(pl.col("engine") != feeds.truths.unknown_model.model_name)
    search = search.with_columns(day=pl.from_epoch("ts_ms", time_unit="ms").dt.date())
    for row in search.iter_rows(named=True):
        for kind, column in (("input", "fresh_in"), ("cache_read", "cached_in"), ("output", "generated")):
            usage[row["vendor"]][row["engine"], row["lane"], kind, row["day"]] += row[column]
    calls = {span.span_id: span for span in spans(feeds.folder)[0] if span.operation == "chat"}
    for span in calls.values():
        if span.attributes.get("tokenledger.deployment.id") == "ptu-agents-gpt-41":
            continue
        provider = "azure" if "tokenledger.deployment.id" in span.attributes else "openai"
        model = span.attributes["gen_ai.request.model"]
        day = date(1970, 1, 1) + timedelta(days=span.start_ns // DAY_NS)
        usage[provider][model, "standard", "input", day] += span.prompt_tokens - span.cached_tokens
        usage[provider][model, "standard", "cache_read", day] += span.cached_tokens
        usage[provider][model, "standard", "output", day] += span.completion_tokens
    return usage


def _contracted_usd(feeds: Feeds, provider: str, key: tuple[str, str, str, date]) -> Decimal:
    """The contracted price of one token."""
    model, tier, kind, day = key
    if provider == "azure":
        return Decimal(AZURE[kind]) / MILLION
    if provider == "together":
        changed_on = feeds.truths.price_changes[0].changed_on
        price = Decimal(TOGETHER[kind][day >= changed_on])
        return price / (2 if tier == "batch" else 1) / MILLION
    is_discounted = day >= feeds.truths.discount.valid_from
    return Decimal(OPENAI[model][kind]) * (Decimal("0.88") if is_discounted else 1) / MILLION


def _lines(feeds: Feeds, file: str) -> pl.DataFrame:
    path = feeds.folder / file
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    return pl.read_csv(path, infer_schema_length=0).with_columns(
        pl.col("BilledCost", "ContractedCost").cast(pl.Decimal(38, 18))
    )


def test_call_lines_are_the_contracted_cost_of_the_calls(feeds: Feeds):
    meters: dict[tuple[str, date], dict[tuple[str, str, str, Decimal], int]] = defaultdict(lambda: defaultdict(int))
    for provider, usage in _usage(feeds).items():
        for key, tokens in usage.items():
            if tokens:
                price = _contracted_usd(feeds, provider, key)
                meters[provider, key[3].replace(day=1)][(*key[:3], price)] += tokens
    billers = [invoice for invoice in feeds.truths.invoices if invoice.call_line_count]
    assert {(invoice.provider_name, invoice.period_month) for invoice in billers} == set(meters)
    for invoice in billers:
        mine = meters[invoice.provider_name, invoice.period_month]
        exact = [tokens * price for (*_, price), tokens in mine.items()]
        assert sum(exact) == invoice.contracted_cost_usd
        assert len(exact) == invoice.call_line_count
        assert sum(cost.quantize(CENT, ROUND_HALF_UP) for cost in exact) == invoice.call_lines_usd
        assert abs(invoice.call_lines_usd - invoice.contracted_cost_usd) <= CENT / 2 * len(exact)


def test_invoice_files_add_up_to_the_stated_totals(feeds: Feeds):
    assert len(feeds.truths.invoices) == 10
    for invoice in feeds.truths.invoices:
        lines = _lines(feeds, invoice.file)
        assert lines["BilledCost"].sum() * invoice.usd_per_currency_unit == invoice.total_usd
        assert set(lines["BillingCurrency"]) == {invoice.billing_currency}
        call_lines = lines.filter(pl.col("ConsumedUnit") == "Tokens")
        assert call_lines["BilledCost"].sum() == invoice.call_lines_usd
        assert call_lines["ContractedCost"].sum() == invoice.contracted_cost_usd
        named = sum(line.amount_usd for line in (*invoice.purchase_lines, *invoice.other_lines))
        assert invoice.call_lines_usd + named == invoice.total_usd
        assert set(lines["InvoiceId"]) == {invoice.invoice_id}
        assert set(lines["ProviderName"]) == {invoice.billed_provider_name}
        assert lines["ChargeDescription"].null_count() == 0


def test_one_line_of_one_invoice_is_not_in_the_telemetry(feeds: Feeds):
    truth = feeds.truths.invoice_difference
    holding = [
        (invoice.provider_name, invoice.period_month, line.amount_usd)
        for invoice in feeds.truths.invoices
        for line in invoice.other_lines
        if line.description == truth.line_name
    ]
    assert holding == [("openai", truth.period_month, truth.amount_usd)]
    assert truth.amount_usd == Decimal("412.37")


def test_commitments_are_billed_by_the_hour_for_the_days_of_the_period(feeds: Feeds):
    purchases = {
        (invoice.provider_name, invoice.period_month): [line.amount_usd for line in invoice.purchase_lines]
        for invoice in feeds.truths.invoices
    }
    july, august = date(2026, 7, 1), date(2026, 8, 1)
    # 31 days and 11 days: units x hours x price, in cents.
    assert purchases["azure", july] == [Decimal("132493.15")]
    assert purchases["azure", august] == [Decimal("47013.70")]
    assert purchases["self_hosted", july] == [Decimal("159807.12")]
    assert purchases["self_hosted", august] == [Decimal("56705.75")]
    assert purchases["openai", july] == []


def test_one_biller_bills_in_euros_at_the_rate_of_the_period(feeds: Feeds):
    # 480.00 + 1,250.00 = 1,730.00 EUR: at 1.08 in July 1,868.40 USD, at 1.095 in August 1,894.35.
    assert {
        invoice.period_month: invoice.total_usd
        for invoice in feeds.truths.invoices
        if invoice.billing_currency == "EUR"
    } == {date(2026, 7, 1): Decimal("1868.40"), date(2026, 8, 1): Decimal("1894.35")}
