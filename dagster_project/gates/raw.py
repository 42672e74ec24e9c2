"""The border from landing to raw: what a connector must have delivered before staging reads it.

Only what is a connector's business: that its records are there, identified, dated, of the right unit, and not
landed twice. A record that says something wrong (negative tokens, an unknown model) is staging's, which
rejects it row by row and keeps it. Freshness is judged over time by SQL.
"""

from collections.abc import Collection, Sequence
from datetime import date

from dagster_project.gates import _specs
from dagster_project.gates.expectations import ExpectationSpec, Suite
from dagster_project.sources import (
    anthropic_costs,
    anthropic_usage,
    aws_cur_files,
    azure_cost_files,
    azure_openai_usage,
    azure_ptu,
    bedrock_logs,
    bedrock_model_units,
    gcp_billing_files,
    gpu_utilization_files,
    inventory_files,
    invoice_files,
    langfuse_observations,
    litellm_spend_logs,
    openai_costs,
    openai_usage,
    prometheus_gpus,
    usage_payloads,
    vertex_gsus,
)
from dagster_project.sources._capacity import MEASURES
from dagster_project.sources._connector import Connector, Entity
from dagster_project.sources._rates import (
    ALLOWANCES,
    COUNTED_KINDS,
    MAX_USD_PER_TOKEN,
    MULTIPLIERS,
    RATES,
    TOKEN_KINDS,
    WEEK_MINUTES,
)
from dagster_project.sources.contract_files import TERM_TYPES

_LANDED_COLUMNS = ("source_name", "landed_at", "input_uri", "record_index")


def _landed(*columns: str, day_of: str | None, may_be_empty: bool = False) -> tuple[ExpectationSpec, ...]:
    """What holds for every landing table: it has rows, columns, provenance, and each record once."""
    not_empty = _specs.not_empty(why="A configured feed without a record is a broken pull, not a quiet day.")
    specs = (
        *(() if may_be_empty else (not_empty,)),
        _specs.columns_present((*_LANDED_COLUMNS, *columns), why="Staging selects these columns by name, null or not."),
        _specs.present("source_name", why="Conservation is counted per source; without one a row drops out."),
        _specs.present("landed_at", why="What was known when is read from the landing instant."),
        _specs.present("input_uri", why="A figure must be traceable to the file that it came from."),
        _specs.within_range(
            "record_index",
            min_value=0,
            why="It is the 0-based position in the input.",
        ),
    )
    if day_of is None:
        return specs
    return (
        *specs,
        _specs.unique(
            ("source_name", "input_uri", "record_index"),
            aspect="record",
            why="A superseded landing that is still read counts its records, and their cost, twice.",
        ),
        _specs.present(day_of, why="Without its instant a record belongs to no day and to no rate."),
        _specs.violations(
            f"event_date is distinct from cast(timezone('UTC', {day_of}) as date)",
            aspect="event_date",
            predicate="reconciled",
            rule=f"event_date is the UTC date of {day_of}.",
            why="Days are rebuilt by event_date; a record filed under another day is priced twice or never.",
        ),
        _specs.violations(
            f"coalesce({day_of} < timestamptz '2015-01-01 00:00:00+00'"
            f" or {day_of} >= timestamptz '2100-01-01 00:00:00+00', false)",
            aspect=day_of,
            predicate="within_range",
            rule=f"{day_of} lies in the years 2015 to 2099.",
            why="An epoch read in the wrong unit (s, ms, us, ns) lands in 1970 or far ahead.",
        ),
    )


def _fields_known(entity: Entity) -> tuple[ExpectationSpec, ...]:
    """What holds for the fields of an entity that has no columns for all of them."""
    return () if entity.known_attributes is None else (_specs.fields_known(entity.known_attributes),)


_OTLP_FILES_SPANS_COLUMNS = (
    "trace_id", "span_id", "parent_span_id", "span_name", "start_at", "end_at", "status_code",
    "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_system", "gen_ai_request_model",
    "gen_ai_response_model", "gen_ai_usage_input_tokens", "gen_ai_usage_output_tokens",
    "gen_ai_usage_cache_read_input_tokens", "gen_ai_usage_cache_creation_input_tokens",
    "gen_ai_usage_reasoning_output_tokens", "service_tier", "tokenledger_use_case_id",
    "tokenledger_use_case_instance_id", "openinference_span_kind", "llm_response_model_name",
    "llm_request_model_name", "llm_model_name", "llm_provider", "llm_system", "embedding_model_name", "session_id",
    "agent_name", "llm_token_count_prompt_tokens", "llm_token_count_completion_tokens",
    "llm_token_count_total_tokens", "attributes_json",
)  # fmt: skip

OTLP_FILES_SPANS = Suite(
    stage="raw",
    subject="otlp_files_spans",
    relation="raw.raw_otlp_files__spans",
    day_column="event_date",
    specs=(
        *_landed(*_OTLP_FILES_SPANS_COLUMNS, day_of="start_at"),
        _specs.present("trace_id", why="A span is named by its trace and its own id; retries are found by them."),
        _specs.present("span_id", why="A span is named by its trace and its own id; parents are found by it."),
        _specs.known(
            "status_code",
            (0, 1, 2),
            why="OpenTelemetry knows unset, ok and error; success is read from it.",
            severity="warn",
        ),
        _specs.known(
            "span_kind",
            (0, 1, 2, 3, 4, 5),
            why="OpenTelemetry knows six kinds; another number means that the file was decoded wrongly.",
            severity="warn",
        ),
    ),
)

_TABLE_FILES_CALLS_COLUMNS = (
    "event_at", "call_id", "provider_name", "model_name", "operation_name", "deployment_id", "region_id",
    "service_tier", "use_case_id", "use_case_instance_id", "is_success", "input_tokens",
    "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "input_includes_cache", "output_includes_reasoning",
)  # fmt: skip

TABLE_FILES_CALLS = Suite(
    stage="raw",
    subject="table_files_calls",
    relation="raw.raw_table_files__calls",
    day_column="event_date",
    specs=(
        *_landed(*_TABLE_FILES_CALLS_COLUMNS, day_of="event_at"),
        _specs.present("call_id", why="It is the call's name; the connector derives one when the file has none."),
        _specs.violations(
            "input_includes_cache is null and (coalesce(cache_read_tokens, 0) <> 0"
            " or coalesce(cache_write_5m_tokens, 0) <> 0 or coalesce(cache_write_1h_tokens, 0) <> 0)",
            aspect="input_includes_cache",
            predicate="present",
            rule="A call with cached tokens says whether its input count includes them.",
            why="Unless it is known whether input holds cached tokens, they are charged twice or never.",
        ),
        _specs.violations(
            "output_includes_reasoning is null and coalesce(reasoning_tokens, 0) <> 0",
            aspect="output_includes_reasoning",
            predicate="present",
            rule="A call with reasoning tokens says whether its output count includes them.",
            why="Unless it is known whether output holds reasoning tokens, they are charged twice or never.",
        ),
    ),
)

_USAGE_PAYLOADS_CALLS_COLUMNS = (
    "event_at", "call_id", "dialect_type", "host_name", "request_path", "provider_name", "model_name",
    "requested_model_name", "operation_name", "region_id", "service_tier", "use_case_id", "use_case_instance_id",
    "is_success", "is_usage_record", "usage_json", "usage_events_json", "attributes_json",
)  # fmt: skip


def _payloads_suite(connector: Connector) -> Suite:
    """What holds for recorded calls with their usage blocks, whichever kind of source has them."""
    kind = connector.kind
    return Suite(
        stage="raw",
        subject=f"{kind}_calls",
        relation=f"raw.raw_{kind}__calls",
        day_column="event_date",
        specs=(
            *_landed(*_USAGE_PAYLOADS_CALLS_COLUMNS, day_of="event_at"),
            _specs.present("call_id", why="It is the call's name; the connector derives one when the record has none."),
            _specs.present("dialect_type", why="The same name counts other tokens in another dialect."),
            _specs.violations(
                "usage_json is not null and not json_valid(usage_json)",
                aspect="usage_json",
                predicate="known",
                rule="usage_json is null or JSON.",
                why="A block that cannot be read would pass for one that says nothing.",
            ),
            *_fields_known(connector.entity("calls")),
        ),
    )


USAGE_PAYLOADS_CALLS = _payloads_suite(usage_payloads.connector)
LITELLM_SPEND_LOGS_CALLS = _payloads_suite(litellm_spend_logs.connector)
LANGFUSE_OBSERVATIONS_CALLS = _payloads_suite(langfuse_observations.connector)

_BEDROCK_LOGS_INVOCATIONS_COLUMNS = (
    "event_at", "request_id", "account_id", "region_id", "operation_type", "model_id", "response_model_name",
    "service_tier", "use_case_id", "use_case_instance_id", "input_tokens", "cache_read_input_tokens",
    "cache_write_input_tokens", "cache_write_1h_input_tokens", "output_tokens", "reasoning_output_tokens",
    "attributes_json",
)  # fmt: skip

BEDROCK_LOGS_INVOCATIONS = Suite(
    stage="raw",
    subject="bedrock_logs_invocations",
    relation="raw.raw_bedrock_logs__invocations",
    day_column="event_date",
    specs=(
        *_landed(*_BEDROCK_LOGS_INVOCATIONS_COLUMNS, day_of="event_at"),
        _specs.present("request_id", why="It is the call's name; an invocation that is logged twice is found by it."),
        _specs.present("model_id", why="A call without a model has no price."),
        _specs.known(
            "schema_version",
            ("1.0",),
            why="The counts of another version of the log may include what these leave out.",
            severity="warn",
        ),
        *_fields_known(bedrock_logs.INVOCATIONS),
    ),
)

_IN_KINDS = ", ".join(repr(kind) for kind in TOKEN_KINDS)


def _rates_suite(kind: str) -> Suite:
    """What holds for the list prices of every catalogue."""
    return Suite(
        stage="raw",
        subject=f"{kind}_rates",
        relation=f"raw.raw_{kind}__rates",
        specs=(
            *_landed(*RATES.schema.names, day_of=None),
            _specs.present("provider_name", why="A rate is found by its provider."),
            _specs.present("model_id", why="A rate is found by its model."),
            _specs.present("unit_kind", why="A price without what it is the price of prices nothing."),
            _specs.present("unit_price", why="An unknown price is an absent row; a null would price calls at null."),
            _specs.present("pricing_currency", why="A price without a currency cannot be turned into dollars."),
            _specs.present("service_tier", why="A rate is found by its tier; the usual one is named standard."),
            _specs.present("known_from", why="A figure before a correction is found by when its rate was known."),
            _specs.within_range(
                "unit_price",
                min_value=0,
                max_value=100,
                why="A rate card pays nobody; measured 2026-11-20, the dearest unit (a second of video) cost 1.56.",
            ),
            _specs.violations(
                f"unit_kind in ({_IN_KINDS}) and pricing_currency = 'USD'"
                f" and coalesce(unit_price > {MAX_USD_PER_TOKEN}, false)",
                aspect="usd_per_token",
                predicate="within_range",
                rule="A token costs at most 0.01 USD.",
                why="A connector rejects such a price; measured 2026-11-20, the dearest token cost 0.00971.",
            ),
            _specs.known("unit_kind", (*TOKEN_KINDS, *COUNTED_KINDS), why="Nothing charges for another kind."),
            _specs.violations(
                "coalesce(valid_to <= valid_from, false)",
                aspect="validity",
                predicate="monotonic",
                rule="valid_to is later than valid_from.",
                why="A rate that ends before it begins is never found.",
            ),
            _specs.within_range(
                "context_over_tokens", min_value=0, why="A threshold counts tokens from zero; the base price has none."
            ),
            _specs.violations(
                "coalesce(context_up_to_tokens <= coalesce(context_over_tokens, 0), false)",
                aspect="context_band",
                predicate="monotonic",
                rule="context_up_to_tokens is more than context_over_tokens.",
                why="A band that ends before it begins prices no call.",
            ),
            _specs.violations(
                "(week_minute_from is null) <> (week_minute_to is null)"
                f" or coalesce(week_minute_from < 0 or week_minute_to > {WEEK_MINUTES}"
                " or week_minute_to <= week_minute_from, false)",
                aspect="week_window",
                predicate="within_range",
                rule=f"A window of the week has both ends, from 0 to {WEEK_MINUTES} minutes, the second one later.",
                why="Half a window is read as none, and its price as that of all day.",
            ),
            _specs.unique(
                (
                    "source_name", "input_uri", "provider_name", "model_id", "unit_kind", "service_tier", "region_id",
                    "context_over_tokens", "week_minute_from", "week_minute_to", "valid_from",
                ),
                aspect="price",
                why="Of two prices of the same unit at the same instant one is wrong, and nobody can say which.",
            ),
        ),
    )  # fmt: skip


def _multipliers_suite(kind: str) -> Suite:
    """What holds for the multipliers of places."""
    return Suite(
        stage="raw",
        subject=f"{kind}_multipliers",
        relation=f"raw.raw_{kind}__multipliers",
        may_be_empty=True,
        specs=(
            *_landed(*MULTIPLIERS.schema.names, day_of=None, may_be_empty=True),
            _specs.present("provider_name", why="A multiplier is found by its provider."),
            _specs.present("model_id", why="A multiplier is found by its model."),
            _specs.present("region_id", why="A multiplier without a place would make every call dearer."),
            _specs.present("multiplier", why="A null would price every call of the place at null."),
            _specs.within_range(
                "multiplier",
                min_value=0.1,
                max_value=10,
                why="Measured 2026-11-20, every multiplier of a place was 1.1; 10 for 10 % would be far off.",
            ),
        ),
    )


def _allowances_suite(kind: str) -> Suite:
    """What holds for free allowances."""
    return Suite(
        stage="raw",
        subject=f"{kind}_allowances",
        relation=f"raw.raw_{kind}__allowances",
        may_be_empty=True,
        specs=(
            *_landed(*ALLOWANCES.schema.names, day_of=None, may_be_empty=True),
            _specs.present("provider_name", why="An allowance is found by its provider."),
            _specs.present("allowance_group", why="What models share is counted by its group."),
            _specs.present("model_id", why="An allowance of no model frees nothing."),
            _specs.present("unit_kind", why="Free units of an unknown kind would free any kind."),
            _specs.present("allowance_units", why="An allowance without a number frees nothing, or everything."),
            _specs.within_range("allowance_units", min_value=1, why="Less than one unit is no allowance."),
            _specs.known("period_type", ("day", "month"), why="Free units are counted by day or by month."),
            _specs.present("period_type", why="Without its period an allowance would hold once and for all."),
        ),
    )


GENAI_PRICES_RATES = _rates_suite("genai_prices")
LITELLM_PRICES_RATES = _rates_suite("litellm_prices")
LITELLM_PRICES_MULTIPLIERS = _multipliers_suite("litellm_prices")
LITELLM_PRICES_ALLOWANCES = _allowances_suite("litellm_prices")
LLM_PRICES_RATES = _rates_suite("llm_prices")

_GENAI_PRICES_MODEL_PATTERNS_COLUMNS = (
    "provider_name", "model_id", "pattern_group", "regex", "is_negated", "priority",
)  # fmt: skip

GENAI_PRICES_MODEL_PATTERNS = Suite(
    stage="raw",
    subject="genai_prices_model_patterns",
    relation="raw.raw_genai_prices__model_patterns",
    specs=(
        *_landed(*_GENAI_PRICES_MODEL_PATTERNS_COLUMNS, day_of=None),
        _specs.present("model_id", why="A pattern without its model names nothing."),
        _specs.present("regex", why="A null pattern matches nothing and hides the model's rates."),
        _specs.present("is_negated", why="Read as its opposite, a pattern gives a call another model's price."),
    ),
)

_CONTRACT_FILES_TERMS_COLUMNS = (
    "contract_id", "provider_name", "model_pattern", "term_type", "unit_kind", "unit_price", "pricing_currency",
    "discount_share", "multiplier", "allowance_units", "period_type", "allowance_group", "service_tier", "region_id",
    "context_over_tokens", "context_up_to_tokens", "week_minute_from", "week_minute_to", "valid_from", "valid_to",
    "is_list",
)  # fmt: skip

CONTRACT_FILES_TERMS = Suite(
    stage="raw",
    subject="contract_files_terms",
    relation="raw.raw_contract_files__terms",
    specs=(
        *_landed(*_CONTRACT_FILES_TERMS_COLUMNS, day_of=None),
        _specs.present("contract_id", why="A discount must be traceable to the contract that grants it."),
        _specs.present("provider_name", why="A term without a provider would discount everything."),
        _specs.present("model_pattern", why="A term without models would discount everything or nothing."),
        _specs.present("term_type", why="Whether a number is a price or a share is said here alone."),
        _specs.present("valid_from", why="A term without a beginning would restate all of history."),
        _specs.present("is_list", why="List and negotiated prices go to different cost columns."),
        _specs.known("term_type", TERM_TYPES, why="Pricing knows these."),
        _specs.within_range("discount_share", min_value=0, max_value=1, why="15 for 15 % would pay us for calling."),
        _specs.within_range("unit_price", min_value=0, why="A negotiated price pays nobody."),
        _specs.violations(
            "(term_type = 'unit_price' and (unit_price is null or pricing_currency is null or unit_kind is null))"
            " or (term_type = 'percentage_discount' and discount_share is null)"
            " or (term_type = 'multiplier' and multiplier is null)"
            " or (term_type = 'free_allowance'"
            " and (allowance_units is null or period_type is null or unit_kind is null or allowance_group is null))",
            aspect="term_value",
            predicate="present",
            rule="A unit price has its price, currency and unit, a percentage discount its share, a multiplier its "
            "number, a free allowance its units, period, kind and group.",
            why="A term without its number changes no charge, silently.",
        ),
        _specs.violations(
            "coalesce(valid_to <= valid_from, false)",
            aspect="validity",
            predicate="monotonic",
            rule="valid_to, the first day that is not covered, is later than valid_from.",
            why="A term that ends before it begins is never applied.",
        ),
    ),
)

_FOCUS_FILES_CHARGES_COLUMNS = (
    "billing_account_id", "billing_currency", "billing_period_start", "billing_period_end",
    "charge_period_start", "charge_period_end", "charge_category", "charge_class", "billed_cost",
    "effective_cost", "list_cost", "contracted_cost", "service_name", "sku_id", "focus_version",
)  # fmt: skip

FOCUS_FILES_CHARGES = Suite(
    stage="raw",
    subject="focus_files_charges",
    relation="raw.raw_focus_files__charges",
    day_column="event_date",
    specs=(
        *_landed(*_FOCUS_FILES_CHARGES_COLUMNS, day_of="charge_period_start"),
        # Nullability and value lists below are those of the FOCUS specification's Cost and Usage data set,
        # 1.0-1.4.
        _specs.present("billing_account_id", why="The ledger is reconciled per billing account."),
        _specs.present("billing_period_start", why="The ledger is reconciled per billing period."),
        _specs.present("billing_period_end", why="The ledger is reconciled per billing period."),
        _specs.present("billing_currency", why="An amount without a currency cannot be added."),
        _specs.present("charge_period_end", why="A charge is spread over its period."),
        _specs.present("billed_cost", why="It is the figure that the ledger must equal."),
        _specs.present(
            "effective_cost",
            why="FOCUS requires it; without it the amortised view of the bill lacks a charge.",
            severity="warn",
        ),
        _specs.present("charge_category", why="Tax and credits are named charges, not calls."),
        _specs.known(
            "charge_category",
            ("Usage", "Purchase", "Tax", "Credit", "Adjustment"),
            why="FOCUS knows these; another is neither spread over calls nor named as another charge.",
        ),
        _specs.known("charge_class", ("Correction",), why="FOCUS knows one class: an earlier period restated."),
        _specs.known(
            "pricing_category",
            ("Standard", "Dynamic", "Committed", "Other"),
            why="FOCUS knows these; committed usage is priced by its commitment.",
            severity="warn",
        ),
        _specs.known(
            "commitment_discount_status",
            ("Used", "Unused"),
            why="FOCUS knows these; unused commitment is idle capacity.",
            severity="warn",
        ),
        _specs.violations(
            "coalesce(charge_period_end <= charge_period_start, false)",
            aspect="charge_period",
            predicate="monotonic",
            rule="charge_period_end is later than charge_period_start.",
            why="FOCUS periods are half-open; an empty one has no hour to be spread over.",
        ),
        _specs.violations(
            "coalesce(billing_period_end <= billing_period_start, false)",
            aspect="billing_period",
            predicate="monotonic",
            rule="billing_period_end is later than billing_period_start.",
            why="FOCUS periods are half-open; an empty one reconciles nothing.",
        ),
        _specs.violations(
            "billing_currency is not null and not regexp_matches(billing_currency, '^[A-Z]{{3}}$')",
            aspect="billing_currency",
            predicate="known",
            rule="billing_currency is null or a three-letter ISO 4217 code.",
            why="A virtual currency (credits, tokens) in this column would be added up as money.",
        ),
    ),
)


def _bill_suite(
    connector: Connector,
    columns: Sequence[str],
    *specs: ExpectationSpec,
    day_of: str,
    cost: str,
    account: str,
    currency: str,
    periods: Sequence[tuple[str, str]],
) -> Suite:
    """What holds for the lines of every bill.

    Args:
        connector: What lands them.
        columns: Further columns that staging reads.
        specs: What holds for this bill alone.
        day_of: Column of the instant from which a line is charged.
        cost: Column of what is billed.
        account: Column of the billing account.
        currency: Column of the billing currency.
        periods: Starts of periods and their ends, a column or one moved by an interval; either may be null.
    """
    bounds = [column.partition(" ")[0] for period in periods for column in period]
    (entity,) = connector.entities
    return Suite(
        stage="raw",
        subject=f"{connector.kind}_{entity.name}",
        relation=f"raw.raw_{connector.kind}__{entity.name}",
        day_column="event_date",
        specs=(
            *_landed(
                *dict.fromkeys([account, currency, cost, *bounds, *columns]), "delivery_id", "restated_period",
                "modified_at", "attributes_json", day_of=day_of,
            ),
            _specs.present(cost, why="It is the figure that the ledger must equal."),
            _specs.present(account, why="The ledger is reconciled per billing account."),
            _specs.present(currency, why="An amount without a currency cannot be added."),
            _specs.violations(
                f"{currency} is not null and not regexp_matches({currency}, '^[A-Za-z]{{{{3}}}}$')",
                aspect=currency,
                predicate="known",
                rule=f"{currency} is null or a three-letter ISO 4217 code.",
                why="A virtual currency (credits, tokens) in this column would be added up as money.",
            ),
            *(
                _specs.violations(
                    f"coalesce({end} <= {start}, false)",
                    aspect=start,
                    predicate="monotonic",
                    rule=f"{end} is later than {start}.",
                    why="An empty period has no hour to be spread over, and reconciles nothing.",
                )
                for start, end in periods
            ),
            *specs,
            *_fields_known(entity),
        ),
    )  # fmt: skip


AWS_CUR_FILES_LINE_ITEMS = _bill_suite(
    aws_cur_files.connector,
    (
        "bill_invoice_id", "line_item_usage_account_id", "line_item_line_item_type", "line_item_usage_type",
        "line_item_line_item_description", "line_item_usage_amount", "pricing_unit", "product", "resource_tags",
        "reservation_effective_cost", "savings_plan_savings_plan_effective_cost",
    ),
    _specs.present("line_item_line_item_type", why="Tax, credits and fees are named charges, not calls."),
    _specs.known(
        "line_item_line_item_type",
        (
            "BundledDiscount", "Credit", "Discount", "DiscountedUsage", "DistributorDiscount", "EdpDiscount", "Fee",
            "PrivateRateDiscount", "RIFee", "Refund", "RiVolumeDiscount", "SavingsPlanCoveredUsage",
            "SavingsPlanNegation", "SavingsPlanRecurringFee", "SavingsPlanUpfrontFee", "SppDiscount", "Tax", "Usage",
        ),
        why="CUR 2.0 documents these; another counts as an adjustment.",
        severity="warn",
    ),
    day_of="line_item_usage_start_date",
    cost="line_item_unblended_cost",
    account="bill_payer_account_id",
    currency="line_item_currency_code",
    periods=(
        ("bill_billing_period_start_date", "bill_billing_period_end_date"),
        ("line_item_usage_start_date", "line_item_usage_end_date"),
    ),
)  # fmt: skip

AZURE_COST_FILES_CHARGES = _bill_suite(
    azure_cost_files.connector,
    (
        "invoice_id", "billing_profile_id", "subscription_id", "charge_type", "pricing_model", "meter_name",
        "meter_category", "unit_of_measure", "quantity", "product_name", "reservation_id", "tags",
    ),
    _specs.present("charge_type", why="Purchases and refunds are named charges, not calls."),
    _specs.violations(
        "charge_type in ('UnusedReservation', 'UnusedSavingsPlan')",
        aspect="charge_type",
        predicate="known",
        rule="charge_type is not UnusedReservation or UnusedSavingsPlan.",
        why="These are in amortised exports alone, which state another cost than the invoice does.",
    ),
    day_of="usage_at",
    cost="cost_in_billing_currency",
    account="billing_account_id",
    currency="billing_currency",
    # Azure's billing periods end on their last day, so one of a day would end as it starts.
    periods=(("billing_period_start_at", "billing_period_end_at + interval 1 day"),),
)  # fmt: skip

GCP_BILLING_FILES_CHARGES = _bill_suite(
    gcp_billing_files.connector,
    (
        "record_type", "service_description", "sku_id", "sku_description", "project_id", "labels", "usage_unit",
        "usage_amount", "cost_type", "cost_at_list", "invoice_month", "credit_type",
    ),
    _specs.present("record_type", why="A credit that passes for a charge would be a call's price."),
    _specs.known("record_type", ("charge", "credit"), why="A row of the export is a charge and its credits."),
    _specs.known(
        "cost_type",
        ("adjustment", "regular", "rounding_error", "tax"),
        why="The export documents these; another counts as an adjustment.",
        severity="warn",
    ),
    _specs.violations(
        "invoice_month is null or not regexp_matches(invoice_month, '^20[0-9]{{2}}(0[1-9]|1[0-2])$')",
        aspect="invoice_month",
        predicate="known",
        rule="invoice_month is a year and a month, 202607.",
        why="Which bill a charge is on follows from it alone.",
    ),
    day_of="usage_start_time",
    cost="cost",
    account="billing_account_id",
    currency="currency",
    periods=(("usage_start_time", "usage_end_time"),),
)  # fmt: skip

INVOICE_FILES_LINES = _bill_suite(
    invoice_files.connector,
    (
        "invoice_id", "provider_name", "charge_category", "charge_description", "model_name", "unit_kind",
        "consumed_unit", "consumed_quantity", "are_period_ends_inclusive",
    ),
    _specs.present("provider_name", why="A bill of nobody is compared with no calls."),
    _specs.known(
        "charge_category",
        ("Usage", "Purchase", "Tax", "Credit", "Adjustment"),
        why="FOCUS knows these; another is neither spread over calls nor named as another charge.",
    ),
    day_of="charge_period_start",
    cost="billed_cost",
    account="billing_account_id",
    currency="billing_currency",
    # An end that is the last day of a period may be its first one too.
    periods=(
        ("charge_period_start", "charge_period_end + interval 1 microsecond"),
        ("billing_period_start", "billing_period_end + interval 1 microsecond"),
    ),
)  # fmt: skip

_COSTS_COLUMNS = (
    "bucket_start_at", "bucket_end_at", "billing_account_id", "line_name", "token_type", "model_name", "service_tier",
    "amount", "list_amount", "currency", "quantity", "quantity_unit", "attributes_json",
)  # fmt: skip


def _reported(report: str, *columns: str) -> tuple[ExpectationSpec, ...]:
    """What holds for the buckets of every provider's report."""
    return (
        *_landed(*columns, "modified_at", day_of="bucket_start_at"),
        _specs.present("bucket_end_at", why="Which buckets are of the same time is read from both ends."),
        _specs.present("billing_account_id", why=f"A {report} is compared with calls and bills per account."),
        _specs.violations(
            "coalesce(bucket_end_at <= bucket_start_at or bucket_end_at > bucket_start_at + interval 1 day, false)",
            aspect="bucket",
            predicate="within_range",
            rule="A bucket is longer than nothing and at most a day.",
            why="Use of several days in one number belongs to none of them.",
        ),
    )


def _costs_suite(connector: Connector) -> Suite:
    """What holds for providers' cost reports."""
    return Suite(
        stage="raw",
        subject=f"{connector.kind}_costs",
        relation=f"raw.raw_{connector.kind}__costs",
        day_column="event_date",
        specs=(
            *_reported("cost report", *_COSTS_COLUMNS),
            _specs.present("amount", why="It is the figure that the invoice will charge."),
            _specs.present("currency", why="An amount without a currency cannot be added."),
            *_fields_known(connector.entity("costs")),
        ),
    )


OPENAI_COSTS_COSTS = _costs_suite(openai_costs.connector)
ANTHROPIC_COSTS_COSTS = _costs_suite(anthropic_costs.connector)

_OPENAI_USAGE_BUCKETS_COLUMNS = (
    "bucket_start_at", "bucket_end_at", "billing_account_id", "endpoint_type", "model_name", "service_tier", "is_batch",
    "has_api_keys", "api_key_id", "input_tokens", "input_cached_tokens", "input_cache_write_tokens",
    "input_audio_tokens", "output_tokens", "num_requests", "num_model_requests", "attributes_json",
)  # fmt: skip

OPENAI_USAGE_BUCKETS = Suite(
    stage="raw",
    subject="openai_usage_buckets",
    relation="raw.raw_openai_usage__buckets",
    day_column="event_date",
    specs=(
        *_reported("usage report", *_OPENAI_USAGE_BUCKETS_COLUMNS),
        _specs.present("endpoint_type", why="The same number counts other units in another endpoint's report."),
        *_fields_known(openai_usage.BUCKETS),
    ),
)

_ANTHROPIC_USAGE_BUCKETS_COLUMNS = (
    "bucket_start_at", "bucket_end_at", "billing_account_id", "model_name", "service_tier", "region_id", "speed",
    "has_api_keys", "api_key_id", "uncached_input_tokens", "cache_read_input_tokens", "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens", "output_tokens", "web_search_requests", "attributes_json",
)  # fmt: skip

ANTHROPIC_USAGE_BUCKETS = Suite(
    stage="raw",
    subject="anthropic_usage_buckets",
    relation="raw.raw_anthropic_usage__buckets",
    day_column="event_date",
    specs=(
        *_reported("usage report", *_ANTHROPIC_USAGE_BUCKETS_COLUMNS),
        *_fields_known(anthropic_usage.BUCKETS),
    ),
)

_AZURE_OPENAI_USAGE_BUCKETS_COLUMNS = (
    "bucket_start_at", "bucket_end_at", "billing_account_id", "deployment_name", "model_name", "service_tier",
    "is_batch", "region_id", "input_tokens", "output_tokens", "request_count", "attributes_json",
)  # fmt: skip

AZURE_OPENAI_USAGE_BUCKETS = Suite(
    stage="raw",
    subject="azure_openai_usage_buckets",
    relation="raw.raw_azure_openai_usage__buckets",
    day_column="event_date",
    specs=(
        *_reported("usage report", *_AZURE_OPENAI_USAGE_BUCKETS_COLUMNS),
        _specs.present("deployment_name", why="A series of no deployment adds up several of them."),
        _specs.present("model_name", why="Use of no model is compared with no calls."),
        *_fields_known(azure_openai_usage.BUCKETS),
    ),
)

_SCORES_COLUMNS = (
    "kpi_name", "score", "score_text", "use_case_id", "use_case_version", "use_case_instance_id",
    "scored_at", "provenance",
)  # fmt: skip


def _scores_suite(kind: str, *, may_be_empty: bool = False) -> Suite:
    """What holds for KPI scores, whichever kind of source has them."""
    return Suite(
        stage="raw",
        subject=f"{kind}_scores",
        relation=f"raw.raw_{kind}__scores",
        day_column="event_date",
        may_be_empty=may_be_empty,
        specs=(
            *_landed(*_SCORES_COLUMNS, day_of="scored_at", may_be_empty=may_be_empty),
            _specs.present("kpi_name", why="A score without its KPI enters no value equation."),
            _specs.violations(
                "score is null and score_text is null",
                aspect="score",
                predicate="present",
                rule="A row has a score or a text of one.",
                why="Unknown is an absent row, which coverage counts; an empty one would look scored.",
            ),
            _specs.violations(
                "score is not null and not isfinite(score)",
                aspect="score",
                predicate="within_range",
                rule="score is null or a finite number.",
                why="One NaN makes every mean that it enters NaN.",
            ),
            _specs.present("provenance", why="Measured and self-reported value are never added unmarked."),
            _specs.known(
                "provenance",
                ("measured", "self_reported", "derived", "attested"),
                why="Confidence in a value is graded by these four.",
            ),
        ),
    )


KPI_FILES_SCORES = _scores_suite("kpi_files")
KPI_QUERY_SCORES = _scores_suite("kpi_query")
KPI_API_SCORES = _scores_suite("kpi_api")
# Nobody has to enter anything.
MANUAL_SCORES_SCORES = _scores_suite("manual_scores", may_be_empty=True)

_IS_ONE_MEASURE = " + ".join(f"cast({name} is not null as integer)" for name in MEASURES)


def _measurements_suite(connector: Connector) -> Suite:
    """What holds for measurements of bought capacity; a provider counts nothing where nothing was called."""
    kind, entity = connector.kind, connector.entity("measurements")
    may_be_empty = entity.may_be_empty
    return Suite(
        stage="raw",
        subject=f"{kind}_measurements",
        relation=f"raw.raw_{kind}__measurements",
        day_column="event_date",
        may_be_empty=may_be_empty,
        specs=(
            *_landed(
                "deployment_id",
                "instance_id",
                *MEASURES,
                "attributes_json",
                day_of="measured_at",
                may_be_empty=may_be_empty,
            ),
            _specs.present("deployment_id", why="A measurement of no deployment says of no capacity that it was used."),
            _specs.present(
                "instance_id", why="Two instances measured at one instant would be one that was measured twice."
            ),
            _specs.violations(
                f"{_IS_ONE_MEASURE} <> 1",
                aspect="measure",
                predicate="present",
                rule="A row has one measure: a share, a percentage or one count of tokens.",
                why="A measurement without a value would look idle, and one of two values cannot be told which counts.",
            ),
            *_fields_known(entity),
        ),
    )


def _deployments_suite(connector: Connector) -> Suite:
    """What holds for the units that deployments hold."""
    kind, entity = connector.kind, connector.entity("deployments")
    may_be_empty = entity.may_be_empty
    return Suite(
        stage="raw",
        subject=f"{kind}_deployments",
        relation=f"raw.raw_{kind}__deployments",
        day_column="event_date",
        may_be_empty=may_be_empty,
        specs=(
            *_landed(
                "deployment_id", "instance_id", "commitment_id", "provider_name", "model_id", "deployment_type",
                "region_id", "scope_id", "allocated_units", "starts_at", "ends_at", "is_snapshot", "attributes_json",
                day_of="observed_at", may_be_empty=may_be_empty,
            ),
            _specs.present("provider_name", why="A commitment is matched by its provider."),
            _specs.present("is_snapshot", why="Until when a row holds is read from its successors or from itself."),
            _specs.violations(
                "deployment_id is null and (not is_snapshot or allocated_units is not null)",
                aspect="deployment_id",
                predicate="present",
                rule="A row names its deployment, save the one that says that a snapshot was empty.",
                why="Units of no deployment serve no call.",
            ),
            *_fields_known(entity),
        ),
    )  # fmt: skip


AZURE_PTU_MEASUREMENTS = _measurements_suite(azure_ptu.connector)
AZURE_PTU_DEPLOYMENTS = _deployments_suite(azure_ptu.connector)
BEDROCK_MODEL_UNITS_MEASUREMENTS = _measurements_suite(bedrock_model_units.connector)
BEDROCK_MODEL_UNITS_DEPLOYMENTS = _deployments_suite(bedrock_model_units.connector)
GPU_UTILIZATION_FILES_MEASUREMENTS = _measurements_suite(gpu_utilization_files.connector)
INVENTORY_FILES_DEPLOYMENTS = _deployments_suite(inventory_files.connector)
PROMETHEUS_GPUS_MEASUREMENTS = _measurements_suite(prometheus_gpus.connector)
VERTEX_GSUS_MEASUREMENTS = _measurements_suite(vertex_gsus.connector)
VERTEX_GSUS_DEPLOYMENTS = _deployments_suite(vertex_gsus.connector)

SUITES: tuple[Suite, ...] = (
    OTLP_FILES_SPANS,
    TABLE_FILES_CALLS,
    USAGE_PAYLOADS_CALLS,
    LITELLM_SPEND_LOGS_CALLS,
    LANGFUSE_OBSERVATIONS_CALLS,
    BEDROCK_LOGS_INVOCATIONS,
    GENAI_PRICES_RATES,
    GENAI_PRICES_MODEL_PATTERNS,
    LITELLM_PRICES_RATES,
    LITELLM_PRICES_MULTIPLIERS,
    LITELLM_PRICES_ALLOWANCES,
    LLM_PRICES_RATES,
    CONTRACT_FILES_TERMS,
    FOCUS_FILES_CHARGES,
    AWS_CUR_FILES_LINE_ITEMS,
    AZURE_COST_FILES_CHARGES,
    GCP_BILLING_FILES_CHARGES,
    INVOICE_FILES_LINES,
    OPENAI_COSTS_COSTS,
    ANTHROPIC_COSTS_COSTS,
    OPENAI_USAGE_BUCKETS,
    ANTHROPIC_USAGE_BUCKETS,
    AZURE_OPENAI_USAGE_BUCKETS,
    KPI_FILES_SCORES,
    KPI_QUERY_SCORES,
    KPI_API_SCORES,
    MANUAL_SCORES_SCORES,
    AZURE_PTU_MEASUREMENTS,
    AZURE_PTU_DEPLOYMENTS,
    BEDROCK_MODEL_UNITS_MEASUREMENTS,
    BEDROCK_MODEL_UNITS_DEPLOYMENTS,
    GPU_UTILIZATION_FILES_MEASUREMENTS,
    INVENTORY_FILES_DEPLOYMENTS,
    PROMETHEUS_GPUS_MEASUREMENTS,
    VERTEX_GSUS_MEASUREMENTS,
    VERTEX_GSUS_DEPLOYMENTS,
)


def suites(kinds: Collection[str], *, window: tuple[date, date] | None = None) -> list[Suite]:
    """The suites of the configured connector kinds.

    Args:
        kinds: Connector kinds of the configuration (`otlp_files`, `focus_files`); the tables of other kinds
            are empty by right and are not judged.
        window: Judge dated tables over these days only, half-open; None for all. A run's cost then grows with
            the days that it touches, but a day without records of a kind is a failure: leave the kind out, or
            pass None.

    Returns:
        The suites, in the order of `SUITES`.
    """
    chosen = [suite for suite in SUITES if any(suite.subject.startswith(f"{kind}_") for kind in kinds)]
    return chosen if window is None else [suite.over_window(*window) for suite in chosen]
