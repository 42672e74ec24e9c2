"""What is planted in the demo company's feeds, as exact numbers.

`Truths` is what `generate` returns and what `truths.json` holds. Here belong the shapes of the truths and
their JSON form; how they are planted is told by the generating modules. Ratios are decimals rounded to six
places, money is exact.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class GeneratorArguments:
    """What the feeds depend on; equal arguments give byte-identical files."""

    seed: int
    calls: int
    days: int
    start_date: date
    generator_version: int
    genai_prices_version: str


@dataclass(frozen=True, slots=True)
class TokenTotals:
    """Disjoint token counts of good calls (an embedding call's tokens are `embedding_tokens` only)."""

    call_count: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    reasoning_tokens: int
    embedding_tokens: int


@dataclass(frozen=True, slots=True)
class PromptDayTruth:
    """The Tuesday on which a longer, uncacheable system prompt tripled the cost of a use case.

    Attributes:
        day: The Tuesday.
        use_case_id: The use case that it hit.
        extra_system_prompt_tokens: Tokens added to each call of that day, all of which missed the cache.
        call_count: Calls of the use case on that day.
        prompt_tokens: Input tokens of that day, cached ones included.
        cost_usd: List cost of that day, which is also the contracted cost unless the discount holds.
        neighbour_days: The day before and the day after.
        neighbour_call_count: Calls of the two neighbours together.
        neighbour_prompt_tokens: Input tokens of the two neighbours together.
        neighbour_cost_usd: List cost of the two neighbours together.
        cost_ratio: Cost of the day over the mean of its neighbours.
        cost_per_call_ratio: The same per call.
        prompt_tokens_per_call_ratio: Input tokens per call over those of the neighbours.
    """

    day: date
    use_case_id: str
    extra_system_prompt_tokens: int
    call_count: int
    prompt_tokens: int
    cost_usd: Decimal
    neighbour_days: tuple[date, ...]
    neighbour_call_count: int
    neighbour_prompt_tokens: int
    neighbour_cost_usd: Decimal
    cost_ratio: Decimal
    cost_per_call_ratio: Decimal
    prompt_tokens_per_call_ratio: Decimal


@dataclass(frozen=True, slots=True)
class RunawayLoopTruth:
    """One agent run that called the model over and over."""

    use_case_id: str
    use_case_instance_id: str
    day: date
    first_call_at: datetime
    last_call_at: datetime
    call_count: int
    spillover_call_count: int


@dataclass(frozen=True, slots=True)
class DeploymentTruth:
    """How one deployment of bought capacity was used; work is in input-token equivalents.

    Attributes:
        deployment_id: The deployment.
        commitment_id: The commitment that pays for it.
        allocated_units: Units allocated to it.
        capacity_tokens_per_hour: Work that it can do in one hour.
        call_count: Calls that it served (spilled calls are not among them).
        used_tokens: Work of those calls.
        best_hour_at: Its busiest hour (the first one, if several are equal).
        best_hour_share: Utilisation in that hour.
        mean_share: Utilisation over all hours of the period.
        busy_hours_mean_share: Utilisation over weekday hours 09:00-17:00 UTC.
        spillover_deployment_id: Where its surplus goes; None when nothing spills.
        spillover_call_count: Calls that were spilled.
        spillover_tokens: Work of the spilled calls.
    """

    deployment_id: str
    commitment_id: str
    allocated_units: int
    capacity_tokens_per_hour: int
    call_count: int
    used_tokens: int
    best_hour_at: datetime
    best_hour_share: Decimal
    mean_share: Decimal
    busy_hours_mean_share: Decimal
    spillover_deployment_id: str | None
    spillover_call_count: int
    spillover_tokens: int


@dataclass(frozen=True, slots=True)
class CommitmentTruth:
    """What was bought and how much of it no deployment uses."""

    commitment_id: str
    provider_name: str
    bought_units: int
    allocated_units: int
    unallocated_units: int
    usd_per_unit_hour: Decimal
    period_cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class ExperimentArmTruth:
    """One version of the experiment; `outcome_count` leaves out the instances whose outcome is unknown."""

    use_case_version: str
    true_success_share: Decimal
    instance_count: int
    outcome_count: int
    success_count: int
    success_share: Decimal


@dataclass(frozen=True, slots=True)
class ExperimentTruth:
    """The randomised experiment by conversation."""

    use_case_id: str
    kpi_name: str
    control: ExperimentArmTruth
    treatment: ExperimentArmTruth
    true_lift: Decimal
    observed_lift: Decimal


@dataclass(frozen=True, slots=True)
class LateTruth:
    """Calls of an early day that arrive in a file of a later day."""

    source_name: str
    file: str
    delivered_on: date
    day: date
    call_count: int


@dataclass(frozen=True, slots=True)
class DuplicateTruth:
    """Rows that are delivered again in another file; `row_count` counts spans of every kind for OTLP."""

    source_name: str
    file: str
    day: date
    call_count: int
    row_count: int


@dataclass(frozen=True, slots=True)
class RejectTruth:
    """Rows that must be rejected; their call ids begin with `bad-` (a broken line has none)."""

    source_name: str
    reason: str
    row_count: int


@dataclass(frozen=True, slots=True)
class UnknownModelTruth:
    """Good calls on a model without a price: unpriced, not rejected."""

    provider_name: str
    model_name: str
    use_case_id: str
    call_count: int
    instance_count: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class PriceChangeTruth:
    """A list price that changes inside the period; prices in USD per million tokens."""

    provider_name: str
    model_name: str
    changed_on: date
    service_tier: str
    unit_kind: str
    before_usd_per_million: Decimal
    after_usd_per_million: Decimal


@dataclass(frozen=True, slots=True)
class DiscountTruth:
    """A negotiated percentage discount that begins inside the period."""

    provider_name: str
    contract_id: str
    valid_from: date
    discount_share: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceLineTruth:
    """One invoice line that no call explains.

    Attributes:
        description: What the invoice calls it.
        charge_category: FOCUS charge category.
        amount_usd: What is billed, converted.
        bom_layer_type: Layer of the bill of materials.
        tagged_use_case_id: Use case in the line's tags.
        tagged_team_name: Team in the line's tags.
    """

    description: str
    charge_category: str
    amount_usd: Decimal
    bom_layer_type: str
    tagged_use_case_id: str | None = None
    tagged_team_name: str | None = None


@dataclass(frozen=True, slots=True)
class InvoiceTruth:
    """One invoice: total = call_lines + purchase_lines + other_lines, in whole cents of the billing currency.

    Attributes:
        provider_name: Canonical provider.
        billed_provider_name: ProviderName on the invoice.
        billing_account_id: Billing account.
        invoice_id: Identity of the invoice.
        period_month: First day of the billing period.
        file: The feed file.
        list_cost_usd: Exact list cost of the calls.
        contracted_cost_usd: Exact contracted cost of the calls.
        call_lines_usd: The call-driven lines, each rounded to cents.
        call_line_count: Number of call-driven lines.
        purchase_lines: Commitments billed.
        other_lines: Lines that are neither calls nor commitments (the planted difference included).
        billing_currency: Currency of the invoice.
        usd_per_currency_unit: Rate of exchange of the billing period's first day.
        total_usd: What is to be paid, converted.
    """

    provider_name: str
    billed_provider_name: str
    billing_account_id: str
    invoice_id: str
    period_month: date
    file: str
    list_cost_usd: Decimal
    contracted_cost_usd: Decimal
    call_lines_usd: Decimal
    call_line_count: int
    purchase_lines: tuple[InvoiceLineTruth, ...]
    other_lines: tuple[InvoiceLineTruth, ...]
    billing_currency: str
    usd_per_currency_unit: Decimal
    total_usd: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceDifferenceTruth:
    """The usage on one invoice that no telemetry shows."""

    provider_name: str
    period_month: date
    invoice_id: str
    line_name: str
    amount_usd: Decimal


@dataclass(frozen=True, slots=True)
class ReportTruth:
    """What a provider's usage and cost reports say of one month.

    Attributes:
        provider_name: Canonical provider.
        billing_account_id: Billing account.
        period_month: First day of the month.
        units_by_meter: Units per "model/tier/unit kind", workbench use included; output holds reasoning.
        cost_usd: Exact sum of the cost report.
    """

    provider_name: str
    billing_account_id: str
    period_month: date
    units_by_meter: dict[str, int]
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class LateUsageTruth:
    """Calls just before midnight that the provider's report counts on the next day.

    Attributes:
        provider_name: Canonical provider.
        model_name: The model.
        service_tier: Its tier.
        day: Day of the calls.
        reported_day: Day of the report.
        request_count: Calls.
        units_by_kind: Their units per unit kind; output holds reasoning.
    """

    provider_name: str
    model_name: str
    service_tier: str
    day: date
    reported_day: date
    request_count: int
    units_by_kind: dict[str, int]


@dataclass(frozen=True, slots=True)
class WorkbenchTruth:
    """Use by hand, without an API key: in the provider's reports and on the bill, in no telemetry.

    Attributes:
        provider_name: Canonical provider.
        model_name: The model.
        day: Its day.
        units_by_kind: Its units per unit kind.
        amount_usd: What it cost.
    """

    provider_name: str
    model_name: str
    day: date
    units_by_kind: dict[str, int]
    amount_usd: Decimal


@dataclass(frozen=True, slots=True)
class Truths:
    """Everything that is known about the generated feeds.

    Attributes:
        arguments: What the feeds depend on.
        good_calls_by_team: Distinct valid calls per team; their sum is `arguments.calls`.
        good_calls_by_source: The same per configured source.
        totals_by_team: Calls and disjoint tokens per team.
        totals: Calls and disjoint tokens of the company.
        instances_by_use_case: Distinct use-case instances.
        kpi_rows_by_kpi: Score rows per "use case/KPI", day-level ones included.
        otlp_spans_by_operation: Distinct spans per operation; only `chat` spans are calls.
        otlp_deprecated_files: OTLP files that use the old attribute names.
        otlp_gzip_file: The OTLP file that is compressed.
        prompt_day: The Tuesday that cost three times as much.
        runaway_loop: The runaway agent.
        deployments: Utilisation per deployment.
        commitments: Bought, allocated and unallocated units.
        spillover_call_count: Calls past the agents' capacity.
        experiment: Versions 1 and 2 of the support chatbot.
        late: Late deliveries.
        duplicates: Duplicate deliveries.
        rejects: Rows to be rejected.
        unknown_model: Calls to be left unpriced.
        price_changes: List-price changes.
        discount: The negotiated discount.
        invoices: All invoices.
        invoice_difference: The planted invoice difference.
        reports: Usage and cost reports per month.
        late_usage: Use that the report counts a day later than its calls.
        workbench: Use that only reports and bill know.
    """

    arguments: GeneratorArguments
    good_calls_by_team: dict[str, int]
    good_calls_by_source: dict[str, int]
    totals_by_team: dict[str, TokenTotals]
    totals: TokenTotals
    instances_by_use_case: dict[str, int]
    kpi_rows_by_kpi: dict[str, int]
    otlp_spans_by_operation: dict[str, int]
    otlp_deprecated_files: tuple[str, ...]
    otlp_gzip_file: str
    prompt_day: PromptDayTruth
    runaway_loop: RunawayLoopTruth
    deployments: tuple[DeploymentTruth, ...]
    commitments: tuple[CommitmentTruth, ...]
    spillover_call_count: int
    experiment: ExperimentTruth
    late: tuple[LateTruth, ...]
    duplicates: tuple[DuplicateTruth, ...]
    rejects: tuple[RejectTruth, ...]
    unknown_model: UnknownModelTruth
    price_changes: tuple[PriceChangeTruth, ...]
    discount: DiscountTruth
    invoices: tuple[InvoiceTruth, ...]
    invoice_difference: InvoiceDifferenceTruth
    reports: tuple[ReportTruth, ...]
    late_usage: LateUsageTruth
    workbench: WorkbenchTruth

    def to_json(self) -> str:
        """Return the truths as stable JSON text; decimals, dates and instants are strings."""
        return json.dumps(dataclasses.asdict(self), indent=1, default=_encode) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Truths":
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: The text is not the JSON of truths of this version.
        """
        return typing.cast("Truths", _decode(cls, json.loads(text)))


def ratio(numerator: Decimal | int, denominator: Decimal | int) -> Decimal:
    """Divide and round to six places, as ratios are stated in the truths."""
    return (Decimal(numerator) / Decimal(denominator)).quantize(Decimal("0.000001"))


def _encode(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"tried to write {value!r} as JSON: expected only decimals, dates and instants")


def _decode(declared: Any, value: Any) -> Any:  # noqa: ANN401 - the type is data here
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if dataclasses.is_dataclass(declared):
        hints = typing.get_type_hints(declared)
        return typing.cast("type", declared)(**{name: _decode(hint, value[name]) for name, hint in hints.items()})
    if origin is tuple:
        return tuple(_decode(arguments[0], item) for item in value)
    if origin is dict:
        return {key: _decode(arguments[1], item) for key, item in value.items()}
    if origin is types.UnionType:
        return None if value is None else _decode(arguments[0], value)
    if declared in (date, datetime):
        return declared.fromisoformat(value)
    return declared(value)
