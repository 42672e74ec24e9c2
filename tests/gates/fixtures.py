"""A right fixture for every suite, and for every gate the change that makes it fail.

`TABLES` builds relations that satisfy their suites; `FAILURES` names, per gate, a statement after which
that gate must fail. A gate without an entry fails the registry test.
"""

from datetime import date

from dagster_project.gates import raw, serving
from dagster_project.gates.expectations import Suite

START_DATE = date(2026, 7, 1)
END_DATE = date(2026, 9, 30)

SERVING_SUITES = tuple(serving.suites(start_date=START_DATE, end_date=END_DATE, parts=serving.PARTS))
SUITES: tuple[Suite, ...] = (*raw.SUITES, *SERVING_SUITES)

_LANDED = """
    'agents_otel' as source_name, timestamptz '2026-07-02 00:10:00+00' as landed_at,
    'feeds/a.jsonl' as input_uri, position as record_index
"""
# Near midnight, where a local date and the UTC date differ.
_AT = "timestamptz '2026-07-01 23:59:59+00'"
_DAY = "date '2026-07-01' as event_date"


def _two_rows(columns: str) -> str:
    return f"select {columns} from range(2) as positions(position)"


def _nulls(kind: str, *names: str) -> str:
    return ", ".join(f"cast(null as {kind}) as {name}" for name in names)


MEASURED_KINDS = ("azure_ptu", "bedrock_model_units", "gpu_utilization_files", "prometheus_gpus", "vertex_gsus")
CLOUD_KINDS = ("azure_ptu", "bedrock_model_units", "vertex_gsus")
DEPLOYED_KINDS = ("azure_ptu", "bedrock_model_units", "inventory_files", "vertex_gsus")
RATE_KINDS = ("genai_prices", "litellm_prices", "llm_prices")
_HISTORY = """
    timestamptz '2026-01-01 00:00:00+00' as valid_from, timestamptz '2026-02-01 00:00:00+00' as valid_to,
    timestamptz '2026-01-01 00:00:00+00' as known_from, 'https://prices.test' as evidence_url
"""
# The base price, and the price above 200,000 tokens in the first half hour of the week.
_RATE = f"""
    {_LANDED}, 'openai' as provider_name, 'gpt-5' as model_id, 'input' as unit_kind, 'input_mtok' as price_key,
    cast(0.0006 as decimal(18, 15)) as unit_price, 'USD' as pricing_currency, 'mtok' as pricing_unit,
    'standard' as service_tier, {_nulls("varchar", "region_id")},
    case position when 1 then cast(200000 as bigint) end as context_over_tokens,
    case position when 0 then cast(200000 as bigint) end as context_up_to_tokens,
    false as is_threshold_inclusive,
    case position when 1 then cast(0 as integer) end as week_minute_from,
    case position when 1 then cast(30 as integer) end as week_minute_to, {_HISTORY}
"""

_DELIVERED = """
    'run-1' as delivery_id, 'billing_period' as restated_period, cast(null as varchar) as attributes_json,
    timestamptz '2026-07-02 00:00:00+00' as modified_at
"""

COST_REPORT_KINDS = ("openai_costs", "anthropic_costs")
_BUCKET = f"""
    {_AT} as bucket_start_at, {_AT} + interval 1 hour as bucket_end_at, 'acct' as billing_account_id,
    cast(null as timestamptz) as modified_at
"""
_COSTS = f"""
    {_LANDED}, {_DAY}, {_BUCKET}, 'gpt-4.1, input' as line_name, 'USD' as currency,
    cast(-0.06 as decimal(38, 18)) as amount, {_nulls("decimal(38, 18)", "list_amount", "quantity")},
    {_nulls("varchar", "token_type", "model_name", "service_tier", "quantity_unit", "attributes_json")}
"""

PAYLOAD_KINDS = ("usage_payloads", "litellm_spend_logs", "langfuse_observations")
SCORE_KINDS = ("kpi_files", "kpi_query", "kpi_api", "manual_scores")

_PAYLOAD = f"""
        {_LANDED}, {_DAY}, {_AT} as event_at, 'call-' || position as call_id, 'openai_chat' as dialect_type,
        case position when 0 then '{{"prompt_tokens": 10}}' end as usage_json,
        {_nulls("varchar", "host_name", "request_path", "provider_name", "model_name", "requested_model_name")},
        {_nulls("varchar", "operation_name", "region_id", "service_tier", "use_case_id", "use_case_instance_id")},
        {_nulls("varchar", "usage_events_json", "attributes_json")},
        {_nulls("boolean", "is_success", "is_usage_record")}
    """
_SCORE = f"""
        {_LANDED}, {_DAY}, {_AT} as scored_at, 'resolved' as kpi_name, cast(1.0 as double) as score,
        'measured' as provenance,
        {_nulls("varchar", "score_text", "use_case_id", "use_case_version", "use_case_instance_id")}
    """

TABLES: dict[str, str] = {
    "raw.raw_otlp_files__spans": _two_rows(f"""
        {_LANDED}, {_DAY}, 'trace' as trace_id, 'span-' || position as span_id,
        {_AT} as start_at, {_AT} as end_at,
        cast(1 as integer) as status_code, cast(3 as integer) as span_kind,
        {_nulls("varchar", "parent_span_id", "span_name", "gen_ai_operation_name", "gen_ai_provider_name")},
        {_nulls("varchar", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model", "service_tier")},
        {_nulls("varchar", "tokenledger_use_case_id", "tokenledger_use_case_instance_id")},
        {_nulls("varchar", "openinference_span_kind", "llm_response_model_name", "llm_request_model_name")},
        {_nulls("varchar", "llm_model_name", "llm_provider", "llm_system", "embedding_model_name", "session_id")},
        {_nulls("varchar", "agent_name", "attributes_json")},
        {_nulls("bigint", "llm_token_count_prompt_tokens", "llm_token_count_completion_tokens")},
        {_nulls("bigint", "llm_token_count_total_tokens")},
        {_nulls("bigint", "gen_ai_usage_input_tokens", "gen_ai_usage_output_tokens")},
        {_nulls("bigint", "gen_ai_usage_cache_read_input_tokens")},
        {_nulls("bigint", "gen_ai_usage_cache_creation_input_tokens")},
        {_nulls("bigint", "gen_ai_usage_reasoning_output_tokens")}
    """),
    "raw.raw_table_files__calls": _two_rows(f"""
        {_LANDED}, {_DAY}, {_AT} as event_at, 'call-' || position as call_id,
        {_nulls("varchar", "provider_name", "model_name", "operation_name", "deployment_id", "region_id")},
        {_nulls("varchar", "service_tier", "use_case_id", "use_case_instance_id")},
        {_nulls("boolean", "is_success")},
        cast(10 as bigint) as input_tokens, cast(4 as bigint) as cache_read_tokens,
        {_nulls("bigint", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")},
        cast(3 as bigint) as reasoning_tokens, true as input_includes_cache, true as output_includes_reasoning
    """),
    **{f"raw.raw_{kind}__calls": _two_rows(_PAYLOAD) for kind in PAYLOAD_KINDS},
    **{f"raw.raw_{kind}__rates": _two_rows(_RATE) for kind in RATE_KINDS},
    "raw.raw_litellm_prices__multipliers": _two_rows(f"""
        {_LANDED}, 'openai' as provider_name, 'gpt-5' as model_id, 'eu' as region_id, 'uplift' as price_key,
        cast(1.1 as decimal(9, 6)) as multiplier, {_HISTORY}
    """),
    "raw.raw_litellm_prices__allowances": _two_rows(f"""
        {_LANDED}, 'google' as provider_name, 'search' as allowance_group, 'gemini-3' as model_id,
        'web_search' as unit_kind, 'free' as price_key, 'day' as period_type, cast(1500 as bigint) as allowance_units,
        {_HISTORY}
    """),
    "raw.raw_genai_prices__model_patterns": _two_rows(f"""
        {_LANDED}, 'openai' as provider_name, 'gpt-5' as model_id, 0 as pattern_group, '^gpt-5$' as regex,
        false as is_negated, 0 as priority
    """),
    "raw.raw_contract_files__terms": _two_rows(f"""
        {_LANDED}, 'c-1' as contract_id, 'openai' as provider_name, 'gpt-*' as model_pattern,
        case position when 0 then 'unit_price' else 'percentage_discount' end as term_type,
        case position when 0 then 'input' end as unit_kind, {_nulls("varchar", "service_tier", "region_id")},
        case position when 0 then cast(0.000002 as decimal(18, 15)) end as unit_price,
        case position when 0 then 'USD' end as pricing_currency,
        {_nulls("decimal(9, 6)", "multiplier")}, {_nulls("varchar", "period_type", "allowance_group")},
        {_nulls("bigint", "allowance_units", "context_over_tokens", "context_up_to_tokens")},
        {_nulls("integer", "week_minute_from", "week_minute_to")},
        case position when 1 then cast(0.15 as decimal(9, 8)) end as discount_share,
        date '2026-01-01' as valid_from, date '2026-01-02' as valid_to, false as is_list
    """),
    "raw.raw_focus_files__charges": _two_rows(f"""
        {_LANDED}, {_DAY}, {_AT} as charge_period_start, {_AT} + interval 1 hour as charge_period_end,
        timestamptz '2026-07-01 00:00:00+00' as billing_period_start,
        timestamptz '2026-08-01 00:00:00+00' as billing_period_end,
        'acct' as billing_account_id, 'USD' as billing_currency, 'Credit' as charge_category,
        'Correction' as charge_class, 'Standard' as pricing_category, 'Used' as commitment_discount_status,
        cast(-1.5 as decimal(38, 18)) as billed_cost, cast(-1.5 as decimal(38, 18)) as effective_cost,
        {_nulls("decimal(38, 18)", "list_cost", "contracted_cost")},
        {_nulls("varchar", "service_name", "sku_id", "focus_version")}
    """),
    "raw.raw_bedrock_logs__invocations": _two_rows(f"""
        {_LANDED}, {_DAY}, {_AT} as event_at, 'request-' || position as request_id,
        'amazon.nova-lite-v1:0' as model_id, '1.0' as schema_version,
        {_nulls("varchar", "account_id", "region_id", "operation_type", "response_model_name")},
        {_nulls("varchar", "service_tier", "use_case_id", "use_case_instance_id", "attributes_json")},
        {_nulls("bigint", "input_tokens", "cache_read_input_tokens", "cache_write_input_tokens")},
        {_nulls("bigint", "cache_write_1h_input_tokens", "output_tokens", "reasoning_output_tokens")}
    """),
    "raw.raw_aws_cur_files__line_items": _two_rows(f"""
        {_LANDED}, {_DAY}, {_DELIVERED}, {_AT} as line_item_usage_start_date,
        {_AT} + interval 1 hour as line_item_usage_end_date,
        timestamptz '2026-07-01 00:00:00+00' as bill_billing_period_start_date,
        timestamptz '2026-08-01 00:00:00+00' as bill_billing_period_end_date, 'acct' as bill_payer_account_id,
        'USD' as line_item_currency_code, 'Refund' as line_item_line_item_type,
        cast(-1.5 as decimal(38, 18)) as line_item_unblended_cost,
        {_nulls("decimal(38, 18)", "line_item_usage_amount", "reservation_effective_cost")},
        {_nulls("decimal(38, 18)", "savings_plan_savings_plan_effective_cost")},
        {_nulls("varchar", "bill_invoice_id", "line_item_usage_account_id", "line_item_usage_type", "pricing_unit")},
        {_nulls("varchar", "line_item_line_item_description", "product", "resource_tags")}
    """),
    "raw.raw_azure_cost_files__charges": _two_rows(f"""
        {_LANDED}, {_DAY}, {_DELIVERED}, {_AT} as usage_at,
        timestamptz '2026-07-01 00:00:00+00' as billing_period_start_at,
        timestamptz '2026-07-01 00:00:00+00' as billing_period_end_at,
        'acct' as billing_account_id, 'EUR' as billing_currency, 'Refund' as charge_type,
        cast(-1.5 as decimal(38, 18)) as cost_in_billing_currency, {_nulls("decimal(38, 18)", "quantity")},
        {_nulls("varchar", "invoice_id", "billing_profile_id", "subscription_id", "pricing_model", "meter_name")},
        {_nulls("varchar", "meter_category", "unit_of_measure", "product_name", "reservation_id", "tags")}
    """),
    "raw.raw_gcp_billing_files__charges": _two_rows(f"""
        {_LANDED}, {_DAY}, {_DELIVERED}, {_AT} as usage_start_time, {_AT} + interval 1 hour as usage_end_time,
        case position when 0 then 'charge' else 'credit' end as record_type, 'acct' as billing_account_id,
        'USD' as currency, 'tax' as cost_type, '202607' as invoice_month, cast(-1.5 as decimal(38, 18)) as cost,
        {_nulls("decimal(38, 18)", "usage_amount", "cost_at_list")},
        {_nulls("varchar", "service_description", "sku_id", "sku_description", "project_id", "labels", "usage_unit")},
        {_nulls("varchar", "credit_type")}
    """),
    "raw.raw_invoice_files__lines": _two_rows(f"""
        {_LANDED}, {_DAY}, {_DELIVERED}, {_AT} as charge_period_start, {_AT} as charge_period_end,
        timestamptz '2026-07-01 00:00:00+00' as billing_period_start,
        case position when 1 then timestamptz '2026-07-31 00:00:00+00' end as billing_period_end,
        true as are_period_ends_inclusive, 'mistral' as provider_name, 'acct' as billing_account_id,
        'eur' as billing_currency, 'Credit' as charge_category, cast(-1.5 as decimal(38, 18)) as billed_cost,
        {_nulls("decimal(38, 18)", "consumed_quantity")},
        {_nulls("varchar", "invoice_id", "charge_description", "model_name", "unit_kind", "consumed_unit")}
    """),
    **{f"raw.raw_{kind}__costs": _two_rows(_COSTS) for kind in COST_REPORT_KINDS},
    "raw.raw_openai_usage__buckets": _two_rows(f"""
        {_LANDED}, {_DAY}, {_BUCKET}, 'completions' as endpoint_type,
        {_nulls("varchar", "model_name", "service_tier", "api_key_id")},
        case position when 0 then '{{"api_source": "agents_api"}}' end as attributes_json,
        {_nulls("boolean", "is_batch", "has_api_keys")},
        {_nulls("bigint", "input_tokens", "input_cached_tokens", "input_cache_write_tokens", "input_audio_tokens")},
        {_nulls("bigint", "output_tokens", "num_requests", "num_model_requests")}
    """),
    "raw.raw_anthropic_usage__buckets": _two_rows(f"""
        {_LANDED}, {_DAY}, {_BUCKET},
        {_nulls("varchar", "model_name", "service_tier", "region_id", "speed", "api_key_id", "attributes_json")},
        {_nulls("boolean", "has_api_keys")}, {_nulls("bigint", "uncached_input_tokens", "cache_read_input_tokens")},
        {_nulls("bigint", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "output_tokens")},
        {_nulls("bigint", "web_search_requests")}
    """),
    "raw.raw_azure_openai_usage__buckets": _two_rows(f"""
        {_LANDED}, {_DAY}, {_BUCKET}, 'agents' as deployment_name, 'gpt-4.1' as model_name,
        {_nulls("varchar", "service_tier", "region_id")}, {_nulls("boolean", "is_batch")},
        {_nulls("bigint", "input_tokens", "output_tokens", "request_count")},
        case position when 0 then '{{"modelversion": "2025-04-14"}}' end as attributes_json
    """),
    **{f"raw.raw_{kind}__scores": _two_rows(_SCORE) for kind in SCORE_KINDS},
    **{
        f"raw.raw_{kind}__measurements": _two_rows(f"""
            {_LANDED}, {_DAY}, {_AT} as measured_at, 'gpu' as deployment_id, 'gpu-' || position as instance_id,
            cast(0.4 as double) as utilization_share, cast(null as double) as utilization_percent,
            {_nulls("bigint", "input_tokens", "cache_read_tokens", "output_tokens", "work_tokens")},
            {_nulls("varchar", "attributes_json")}
        """)
        for kind in MEASURED_KINDS
    },
    **{
        f"raw.raw_{kind}__deployments": _two_rows(f"""
            {_LANDED}, {_DAY}, {_AT} as observed_at, 'ptu-' || position as deployment_id,
            {_nulls("varchar", "instance_id", "commitment_id", "model_id", "deployment_type", "region_id", "scope_id")},
            'azure' as provider_name, cast(100 as bigint) as allocated_units, true as is_snapshot,
            {_nulls("timestamptz", "starts_at", "ends_at")}, {_nulls("varchar", "attributes_json")}
        """)
        for kind in DEPLOYED_KINDS
    },
    "ops.publication": _two_rows(f"{_AT} as built_at, {_AT} as as_of"),
    "marts.fct_calls": _two_rows(f"""
        'agents_otel' as source_name, 'call-' || position as call_id, {_AT} as called_at, {_DAY},
        'openai' as provider_name, 'gpt-5' as model_name, 'gpt-5' as model_id, 'support' as team_name,
        'uc' as use_case_id,
        case position when 0 then 'priced' else 'unpriced' end as pricing_status_type,
        case position when 1 then 'unknown_model' end as unpriced_reason_type,
        case position when 0 then cast(0.0058125 as decimal(38, 15)) end as list_cost_usd,
        case position when 0 then cast(0.0058125 as decimal(38, 15)) end as contracted_cost_usd,
        case position when 0 then cast(0.0058125 as decimal(38, 15)) end as effective_cost_usd,
        cast(1445 as bigint) as input_tokens, cast(220 as bigint) as output_tokens,
        {_nulls("bigint", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")},
        {_nulls("bigint", "reasoning_tokens", "input_audio_tokens", "output_audio_tokens")},
        {_nulls("bigint", "input_image_tokens", "embedding_tokens")}
    """),
    "marts.rpt_daily_spend": _two_rows(f"""
        {_DAY}, 'openai' as provider_name, 'gpt-' || position as model_name, 'support' as team_name,
        'uc' as use_case_id, cast(1046.25 as decimal(38, 15)) as effective_cost_usd
    """),
    "marts.dim_models": _two_rows(
        "'openai' as reported_provider_name, 'openai' as provider_name, 'gpt-' || position as model_name"
    ),
    "marts.dim_use_cases": _two_rows("'uc-' || position as use_case_id"),
    "marts.fct_use_case_instances": _two_rows(f"""
        'uc' as use_case_id, {_nulls("varchar", "use_case_version")},
        'i-' || position as use_case_instance_id,
        date '2026-07-01' as started_date, position as unpriced_call_count,
        case position when 0 then cast(0.5 as decimal(38, 15)) end as cost_usd
    """),
    "marts.rpt_use_case_unit_economics": _two_rows("""
        'uc' as use_case_id, 'v' || position as use_case_version, date '2026-07-01' as started_date,
        cast(4 as bigint) as instance_count, cast(3 as bigint) as success_count,
        cast(0.75 as double) as success_share, cast(0.5 as decimal(38, 15)) as cost_usd
    """),
    "marts.rpt_use_case_leaderboard": _two_rows(
        "'uc-' || position as use_case_id, cast(0.75 as double) as success_share"
    ),
    "marts.fct_invoice_lines": _two_rows("""
        'invoices' as source_name, 'line-' || position as invoice_line_id,
        case position when 0 then cast(-2.5 as decimal(38, 18)) end as billed_cost_usd,
        case position when 1 then 'no_exchange_rate' end as unconverted_reason_type
    """),
    "marts.rpt_reconciliation": _two_rows(f"""
        'calls_to_bill' as layer_type, 'openai' as provider_name,
        date '2026-07-01' as billing_period_start_date, 'calls' as driver_type,
        'part-' || position as component_name, cast(847000 as decimal(38, 18)) as billed_cost_usd,
        case position when 0 then cast(460440 as decimal(38, 18)) end as compared_cost_usd,
        case position when 0 then cast(386560 as decimal(38, 18)) end as difference_usd,
        {_nulls("varchar", "billing_account_id", "bom_layer_type", "model_id", "service_tier", "unit_kind_type")},
        {_nulls("varchar", "commitment_id", "tagged_use_case_id", "tagged_team_name", "cause_type", "evidence")}
    """),
    "marts.rpt_daily_reconciliation": _two_rows("""
        'usage_report_to_cost_report' as layer_type, 'openai' as provider_name, 'acct' as billing_account_id,
        date '2026-07-01' as event_date, 'calls' as component_name, 'gpt' as model_id, 'standard' as service_tier,
        case position when 0 then 'input' else 'output' end as unit_kind_type, cast(null as varchar) as cause_type,
        case position when 0 then cast(0.5 as decimal(38, 18)) end as compared_cost_usd,
        case position when 0 then cast(0.75 as decimal(38, 18)) end as reported_cost_usd,
        case position when 0 then cast(0.25 as decimal(38, 18)) end as difference_usd
    """),
    "marts.rpt_billing_periods": _two_rows("""
        'openai' as provider_name, cast(null as varchar) as billing_account_id,
        cast(date '2026-07-01' + to_months(cast(position as integer)) as date) as billing_period_start_date,
        case position when 0 then 'invoice' end as document_type,
        case position when 0 then 'final' else 'open' end as status_type,
        case position when 0 then cast(847000 as decimal(38, 18)) end as invoice_usd,
        cast(460440 as decimal(38, 18)) as ledger_usd,
        case position when 0 then cast(386559.5 as decimal(38, 18)) end as explained_usd,
        case position when 0 then cast(0.5 as decimal(38, 18)) end as unexplained_usd
    """),
    "marts.fct_provider_usage": _two_rows("""
        'usage_report' as source_name, 'openai' as provider_name, 'acct' as billing_account_id,
        date '2026-07-01' as event_date, cast(null as varchar) as model_name, cast(null as varchar) as model_id,
        cast(null as varchar) as service_tier, cast(null as varchar) as region_id,
        case position when 0 then 'input' else 'output' end as unit_kind_type,
        cast(1500 as decimal(38, 3)) as quantity_units, cast(null as boolean) as is_workbench
    """),
    "marts.fct_kpi_scores": _two_rows(
        "'kpis' as source_name, 's-' || position as kpi_score_id, 'resolved' as kpi_name"
    ),
    "marts.fct_capacity_hours": _two_rows("""
        'pool' as commitment_id, case position when 0 then 'd-1' else 'unallocated' end as allocation_id,
        case position when 0 then 'deployment' else 'unallocated' end as allocation_type,
        timestamptz '2026-07-01 10:00:00+00' as hour_at, date '2026-07-01' as event_date,
        case position when 0 then cast(0.4 as double) end as utilization_share,
        cast(156800 as decimal(28, 9)) as cost_usd,
        cast(case position when 0 then 62720 else 0 end as decimal(28, 9)) as used_cost_usd,
        cast(case position when 0 then 94080 else 0 end as decimal(28, 9)) as idle_cost_usd,
        cast(case position when 0 then 0 else 156800 end as decimal(28, 9)) as unallocated_cost_usd
    """),
    "marts.rpt_capacity_utilization": _two_rows("""
        'pool' as commitment_id, 'd-' || position as allocation_id, date '2026-07-01' as event_date,
        cast(156800 as decimal(28, 9)) as cost_usd, cast(62720 as decimal(28, 9)) as used_cost_usd,
        cast(94080 as decimal(28, 9)) as idle_cost_usd, cast(0 as decimal(28, 9)) as unallocated_cost_usd
    """),
    "analytics.capacity_recommendations": _two_rows("""
        'pool' as commitment_id, 'deployment-' || position as scope_id,
        cast(case position when 0 then 25 end as bigint) as recommended_units,
        cast(15 as bigint) as minimum_units, cast(5 as bigint) as unit_increment_units,
        cast(case position when 0 then 30.00 end as decimal(38, 9)) as current_usd_per_day,
        cast(case position when 0 then 20.00 end as decimal(38, 9)) as recommended_usd_per_day,
        cast(case position when 0 then 24.00 end as decimal(38, 9)) as on_demand_usd_per_day,
        cast(case position when 0 then 10.00 end as decimal(38, 9)) as saving_usd_per_day,
        case position when 1 then 'history_too_short' end as unavailable_reason
    """),
    "analytics.deployment_alternatives": _two_rows("""
        'uc' as use_case_id, 'candidate-' || position as candidate_id,
        cast(case position when 0 then 20.00 end as decimal(38, 9)) as cost_usd_per_day,
        cast(30.00 as decimal(38, 9)) as current_usd_per_day,
        cast(case position when 0 then 10.00 end as decimal(38, 9)) as saving_usd_per_day,
        case position when 1 then 'no_rate' end as unavailable_reason
    """),
}

# {table} is the suite's relation.
_EMPTIED = "delete from {table}"
_DOUBLED = "insert into {table} select * from {table} limit 1"


def _set(assignment: str, where: str = "true") -> str:
    return f"update {{table}} set {assignment} where {where}"


def _dropped(column: str) -> str:
    return f"alter table {{table}} drop column {column}"


def _retyped(column: str) -> str:
    return f"alter table {{table}} alter column {column} type double"


_NEW_FIELD = _set('attributes_json = \'{{"colour": "red"}}\'', "record_index = 1")


def _landing_failures(subject: str, dropped_column: str, *, may_be_empty: bool = False) -> dict[str, str]:
    return {
        **({} if may_be_empty else {f"raw__{subject}_not_empty": _EMPTIED}),
        f"raw__{subject}_columns_present": _dropped(dropped_column),
        f"raw__{subject}_source_name_present": _set("source_name = null", "record_index = 0"),
        f"raw__{subject}_landed_at_present": _set("landed_at = null", "record_index = 0"),
        f"raw__{subject}_input_uri_present": _set("input_uri = null", "record_index = 0"),
        f"raw__{subject}_record_index_within_range": _set("record_index = -1", "record_index = 0"),
    }


def _dated_failures(subject: str, day_of: str) -> dict[str, str]:
    return {
        f"raw__{subject}_record_unique": _DOUBLED,
        f"raw__{subject}_{day_of}_present": _set(f"{day_of} = null", "record_index = 0"),
        f"raw__{subject}_event_date_reconciled": _set("event_date = date '2026-07-02'"),
        f"raw__{subject}_{day_of}_within_range": _set(f"{day_of} = timestamptz '1970-01-20 15:00:00+00'"),
    }


def _rate_failures(kind: str) -> dict[str, str]:
    gate = f"raw__{kind}_rates"
    return {
        **_landing_failures(f"{kind}_rates", "context_up_to_tokens"),
        f"{gate}_provider_name_present": _set("provider_name = null"),
        f"{gate}_model_id_present": _set("model_id = null"),
        f"{gate}_unit_kind_present": _set("unit_kind = null"),
        f"{gate}_unit_price_present": _set("unit_price = null"),
        f"{gate}_pricing_currency_present": _set("pricing_currency = null"),
        f"{gate}_service_tier_present": _set("service_tier = null"),
        f"{gate}_known_from_present": _set("known_from = null"),
        f"{gate}_unit_price_within_range": _set("unit_price = -0.000001"),
        # 15 USD per million tokens, landed as the price of one thousand.
        f"{gate}_usd_per_token_within_range": _set("unit_price = 0.015"),
        f"{gate}_unit_kind_known": _set("unit_kind = 'audio_hours'"),
        f"{gate}_validity_monotonic": _set("valid_to = valid_from"),
        f"{gate}_context_over_tokens_within_range": _set("context_over_tokens = -1"),
        f"{gate}_context_band_monotonic": _set("context_up_to_tokens = 200000", "record_index = 1"),
        f"{gate}_week_window_within_range": _set("week_minute_to = null", "record_index = 1"),
        f"{gate}_price_unique": _set("context_over_tokens = null, week_minute_from = null, week_minute_to = null"),
    }


def _bill_failures(
    subject: str,
    dropped_column: str,
    *,
    day_of: str,
    cost: str,
    account: str,
    currency: str,
    starts: tuple[str, ...],
) -> dict[str, str]:
    gate = f"raw__{subject}"
    return {
        **_landing_failures(subject, dropped_column),
        **_dated_failures(subject, day_of),
        f"{gate}_{cost}_present": _set(f"{cost} = null"),
        f"{gate}_{account}_present": _set(f"{account} = null"),
        f"{gate}_{currency}_present": _set(f"{currency} = null"),
        f"{gate}_{currency}_known": _set(f"{currency} = 'credits'"),
        # A period that began long after it ended.
        **{f"{gate}_{start}_monotonic": _set(f"{start} = timestamptz '2030-01-01 00:00:00+00'") for start in starts},
    }


def _report_failures(subject: str, dropped_column: str) -> dict[str, str]:
    return {
        **_landing_failures(subject, dropped_column),
        **_dated_failures(subject, "bucket_start_at"),
        f"raw__{subject}_bucket_end_at_present": _set("bucket_end_at = null"),
        f"raw__{subject}_billing_account_id_present": _set("billing_account_id = null"),
        # A bucket of two days.
        f"raw__{subject}_bucket_within_range": _set("bucket_end_at = bucket_start_at + interval 2 day"),
        **_new_field(subject),
    }


def _new_field(subject: str) -> dict[str, str]:
    return {f"raw__{subject}_fields_known": _set('attributes_json = \'{{"colour": "red"}}\'', "record_index = 1")}


FAILURES: dict[str, str] = {
    **_landing_failures("otlp_files_spans", "gen_ai_system"),
    **_dated_failures("otlp_files_spans", "start_at"),
    "raw__otlp_files_spans_trace_id_present": _set("trace_id = null"),
    "raw__otlp_files_spans_span_id_present": _set("span_id = null"),
    "raw__otlp_files_spans_status_code_known": _set("status_code = 3"),
    "raw__otlp_files_spans_span_kind_known": _set("span_kind = 9"),
    **_landing_failures("table_files_calls", "region_id"),
    **_dated_failures("table_files_calls", "event_at"),
    "raw__table_files_calls_call_id_present": _set("call_id = null"),
    "raw__table_files_calls_input_includes_cache_present": _set("input_includes_cache = null"),
    "raw__table_files_calls_output_includes_reasoning_present": _set("output_includes_reasoning = null"),
    **{
        name: change
        for kind in PAYLOAD_KINDS
        for name, change in {
            **_landing_failures(f"{kind}_calls", "usage_events_json"),
            **_dated_failures(f"{kind}_calls", "event_at"),
            f"raw__{kind}_calls_call_id_present": _set("call_id = null"),
            f"raw__{kind}_calls_dialect_type_present": _set("dialect_type = null"),
            f"raw__{kind}_calls_usage_json_known": _set("usage_json = 'prompt_tokens: 10'"),
        }.items()
    },
    **{
        f"raw__{kind}_calls_fields_known": _set('attributes_json = \'{{"colour": "red"}}\'', "record_index = 1")
        for kind in ("litellm_spend_logs", "langfuse_observations")
    },
    **{name: change for kind in RATE_KINDS for name, change in _rate_failures(kind).items()},
    **_landing_failures("litellm_prices_multipliers", "region_id", may_be_empty=True),
    "raw__litellm_prices_multipliers_provider_name_present": _set("provider_name = null"),
    "raw__litellm_prices_multipliers_model_id_present": _set("model_id = null"),
    "raw__litellm_prices_multipliers_region_id_present": _set("region_id = null"),
    "raw__litellm_prices_multipliers_multiplier_present": _set("multiplier = null"),
    # 10 % more, landed as a factor of 11.
    "raw__litellm_prices_multipliers_multiplier_within_range": _set("multiplier = 11"),
    **_landing_failures("litellm_prices_allowances", "period_type", may_be_empty=True),
    "raw__litellm_prices_allowances_provider_name_present": _set("provider_name = null"),
    "raw__litellm_prices_allowances_allowance_group_present": _set("allowance_group = null"),
    "raw__litellm_prices_allowances_model_id_present": _set("model_id = null"),
    "raw__litellm_prices_allowances_unit_kind_present": _set("unit_kind = null"),
    "raw__litellm_prices_allowances_allowance_units_present": _set("allowance_units = null"),
    "raw__litellm_prices_allowances_allowance_units_within_range": _set("allowance_units = 0"),
    "raw__litellm_prices_allowances_period_type_known": _set("period_type = 'year'"),
    "raw__litellm_prices_allowances_period_type_present": _set("period_type = null"),
    # 15 USD per million tokens, landed as the price of one thousand.
    **_landing_failures("genai_prices_model_patterns", "priority"),
    "raw__genai_prices_model_patterns_model_id_present": _set("model_id = null"),
    "raw__genai_prices_model_patterns_regex_present": _set("regex = null"),
    "raw__genai_prices_model_patterns_is_negated_present": _set("is_negated = null"),
    **_landing_failures("contract_files_terms", "service_tier"),
    "raw__contract_files_terms_contract_id_present": _set("contract_id = null"),
    "raw__contract_files_terms_provider_name_present": _set("provider_name = null"),
    "raw__contract_files_terms_model_pattern_present": _set("model_pattern = null"),
    "raw__contract_files_terms_term_type_present": _set("term_type = null"),
    "raw__contract_files_terms_valid_from_present": _set("valid_from = null"),
    "raw__contract_files_terms_is_list_present": _set("is_list = null"),
    "raw__contract_files_terms_term_type_known": _set("term_type = 'rebate'"),
    "raw__contract_files_terms_discount_share_within_range": _set("discount_share = 1.5", "record_index = 1"),
    "raw__contract_files_terms_unit_price_within_range": _set("unit_price = -1", "record_index = 0"),
    "raw__contract_files_terms_term_value_present": _set("discount_share = null"),
    "raw__contract_files_terms_validity_monotonic": _set("valid_to = valid_from"),
    **_landing_failures("focus_files_charges", "sku_id"),
    **_dated_failures("focus_files_charges", "charge_period_start"),
    "raw__focus_files_charges_billing_account_id_present": _set("billing_account_id = null"),
    "raw__focus_files_charges_billing_period_start_present": _set("billing_period_start = null"),
    "raw__focus_files_charges_billing_period_end_present": _set("billing_period_end = null"),
    "raw__focus_files_charges_billing_currency_present": _set("billing_currency = null"),
    "raw__focus_files_charges_charge_period_end_present": _set("charge_period_end = null"),
    "raw__focus_files_charges_billed_cost_present": _set("billed_cost = null"),
    "raw__focus_files_charges_effective_cost_present": _set("effective_cost = null"),
    "raw__focus_files_charges_charge_category_present": _set("charge_category = null"),
    "raw__focus_files_charges_charge_category_known": _set("charge_category = 'Refund'"),
    "raw__focus_files_charges_charge_class_known": _set("charge_class = 'Estimate'"),
    "raw__focus_files_charges_pricing_category_known": _set("pricing_category = 'Spot'"),
    "raw__focus_files_charges_commitment_discount_status_known": _set("commitment_discount_status = 'Idle'"),
    "raw__focus_files_charges_charge_period_monotonic": _set("charge_period_end = charge_period_start"),
    "raw__focus_files_charges_billing_period_monotonic": _set("billing_period_end = billing_period_start"),
    "raw__focus_files_charges_billing_currency_known": _set("billing_currency = 'credits'"),
    **_landing_failures("bedrock_logs_invocations", "service_tier"),
    **_dated_failures("bedrock_logs_invocations", "event_at"),
    "raw__bedrock_logs_invocations_request_id_present": _set("request_id = null"),
    "raw__bedrock_logs_invocations_model_id_present": _set("model_id = null"),
    "raw__bedrock_logs_invocations_fields_known": _NEW_FIELD,
    "raw__bedrock_logs_invocations_schema_version_known": _set("schema_version = '2.0'"),
    "raw__aws_cur_files_line_items_fields_known": _NEW_FIELD,
    **_bill_failures(
        "aws_cur_files_line_items",
        "product",
        day_of="line_item_usage_start_date",
        cost="line_item_unblended_cost",
        account="bill_payer_account_id",
        currency="line_item_currency_code",
        starts=("bill_billing_period_start_date", "line_item_usage_start_date"),
    ),
    "raw__aws_cur_files_line_items_line_item_line_item_type_present": _set("line_item_line_item_type = null"),
    "raw__aws_cur_files_line_items_line_item_line_item_type_known": _set("line_item_line_item_type = 'Gift'"),
    "raw__azure_cost_files_charges_fields_known": _NEW_FIELD,
    **_bill_failures(
        "azure_cost_files_charges",
        "tags",
        day_of="usage_at",
        cost="cost_in_billing_currency",
        account="billing_account_id",
        currency="billing_currency",
        starts=("billing_period_start_at",),
    ),
    "raw__azure_cost_files_charges_charge_type_present": _set("charge_type = null"),
    "raw__azure_cost_files_charges_charge_type_known": _set("charge_type = 'UnusedReservation'"),
    "raw__gcp_billing_files_charges_fields_known": _NEW_FIELD,
    **_bill_failures(
        "gcp_billing_files_charges",
        "labels",
        day_of="usage_start_time",
        cost="cost",
        account="billing_account_id",
        currency="currency",
        starts=("usage_start_time",),
    ),
    "raw__gcp_billing_files_charges_record_type_present": _set("record_type = null"),
    "raw__gcp_billing_files_charges_record_type_known": _set("record_type = 'gift'"),
    "raw__gcp_billing_files_charges_cost_type_known": _set("cost_type = 'gift'"),
    "raw__gcp_billing_files_charges_invoice_month_known": _set("invoice_month = '2026-07'"),
    **_bill_failures(
        "invoice_files_lines",
        "unit_kind",
        day_of="charge_period_start",
        cost="billed_cost",
        account="billing_account_id",
        currency="billing_currency",
        starts=("charge_period_start", "billing_period_start"),
    ),
    "raw__invoice_files_lines_provider_name_present": _set("provider_name = null"),
    "raw__invoice_files_lines_charge_category_known": _set("charge_category = 'Gift'"),
    **{
        name: change
        for kind in COST_REPORT_KINDS
        for name, change in {
            **_report_failures(f"{kind}_costs", "quantity_unit"),
            f"raw__{kind}_costs_amount_present": _set("amount = null"),
            f"raw__{kind}_costs_currency_present": _set("currency = null"),
        }.items()
    },
    **_report_failures("openai_usage_buckets", "num_requests"),
    "raw__openai_usage_buckets_endpoint_type_present": _set("endpoint_type = null"),
    **_report_failures("anthropic_usage_buckets", "speed"),
    **_report_failures("azure_openai_usage_buckets", "is_batch"),
    "raw__azure_openai_usage_buckets_deployment_name_present": _set("deployment_name = null"),
    "raw__azure_openai_usage_buckets_model_name_present": _set("model_name = null"),
    **{
        name: change
        for kind in SCORE_KINDS
        for name, change in {
            **_landing_failures(f"{kind}_scores", "score_text", may_be_empty=kind == "manual_scores"),
            **_dated_failures(f"{kind}_scores", "scored_at"),
            f"raw__{kind}_scores_kpi_name_present": _set("kpi_name = null", "record_index = 1"),
            f"raw__{kind}_scores_score_present": _set("score = null", "record_index = 1"),
            f"raw__{kind}_scores_score_within_range": _set("score = 'nan'::double"),
            f"raw__{kind}_scores_provenance_present": _set("provenance = null"),
            f"raw__{kind}_scores_provenance_known": _set("provenance = 'guessed'"),
        }.items()
    },
    **{
        name: change
        for kind in MEASURED_KINDS
        for name, change in {
            **_landing_failures(
                f"{kind}_measurements",
                "work_tokens",
                may_be_empty=kind not in {"gpu_utilization_files", "prometheus_gpus"},
            ),
            **_dated_failures(f"{kind}_measurements", "measured_at"),
            f"raw__{kind}_measurements_deployment_id_present": _set("deployment_id = null"),
            f"raw__{kind}_measurements_instance_id_present": _set("instance_id = null"),
            f"raw__{kind}_measurements_measure_present": _set("utilization_share = null", "record_index = 1"),
            **(_new_field(f"{kind}_measurements") if kind in CLOUD_KINDS else {}),
        }.items()
    },
    **{
        name: change
        for kind in DEPLOYED_KINDS
        for name, change in {
            **_landing_failures(f"{kind}_deployments", "region_id", may_be_empty=kind != "inventory_files"),
            **_dated_failures(f"{kind}_deployments", "observed_at"),
            f"raw__{kind}_deployments_provider_name_present": _set("provider_name = null"),
            f"raw__{kind}_deployments_is_snapshot_present": _set("is_snapshot = null", "record_index = 1"),
            f"raw__{kind}_deployments_deployment_id_present": _set("deployment_id = null", "record_index = 1"),
            **(_new_field(f"{kind}_deployments") if kind in CLOUD_KINDS else {}),
        }.items()
    },
    "serving__publication_not_empty": _EMPTIED,
    "serving__publication_built_at_present": _set("built_at = null"),
    "serving__publication_as_of_present": _set("as_of = null"),
    "serving__fct_calls_not_empty": _EMPTIED,
    "serving__fct_calls_columns_present": _dropped("team_name"),
    "serving__fct_calls_source_name_present": _set("source_name = null"),
    "serving__fct_calls_call_id_present": _set("call_id = null"),
    "serving__fct_calls_call_unique": _DOUBLED,
    "serving__fct_calls_event_date_within_range": _set("event_date = date '2026-10-01'"),
    # 23:59:59 UTC is already the next day in Berlin.
    "serving__fct_calls_event_date_reconciled": _set("event_date = date '2026-07-02'"),
    "serving__fct_calls_pricing_status_type_present": _set("pricing_status_type = null"),
    "serving__fct_calls_pricing_status_type_known": _set("pricing_status_type = 'estimated'"),
    "serving__fct_calls_unpriced_reason_known": _set("unpriced_reason_type = null"),
    "serving__fct_calls_effective_cost_usd_present": _set("effective_cost_usd = null"),
    "serving__fct_calls_list_cost_usd_within_range": _set("list_cost_usd = -0.000000000000001"),
    "serving__fct_calls_contracted_cost_usd_within_range": _set("contracted_cost_usd = -1"),
    "serving__fct_calls_effective_cost_usd_within_range": _set("effective_cost_usd = -1"),
    "serving__fct_calls_list_cost_usd_type_known": _retyped("list_cost_usd"),
    "serving__fct_calls_contracted_cost_usd_type_known": _retyped("contracted_cost_usd"),
    "serving__fct_calls_effective_cost_usd_type_known": _retyped("effective_cost_usd"),
    "serving__fct_calls_tokens_within_range": _set("reasoning_tokens = -1"),
    "serving__rpt_daily_spend_not_empty": _EMPTIED,
    "serving__rpt_daily_spend_grain_unique": _DOUBLED,
    "serving__rpt_daily_spend_event_date_within_range": _set("event_date = date '2026-06-30'"),
    "serving__rpt_daily_spend_effective_cost_usd_within_range": _set("effective_cost_usd = -1"),
    "serving__rpt_daily_spend_effective_cost_usd_type_known": _retyped("effective_cost_usd"),
    "serving__dim_models_not_empty": _EMPTIED,
    "serving__dim_models_grain_unique": _DOUBLED,
    "serving__dim_use_cases_not_empty": _EMPTIED,
    "serving__dim_use_cases_use_case_id_present": _set("use_case_id = null"),
    "serving__dim_use_cases_use_case_id_unique": _DOUBLED,
    "serving__fct_use_case_instances_not_empty": _EMPTIED,
    # The version is null: two nulls are the same version.
    "serving__fct_use_case_instances_instance_unique": _DOUBLED,
    "serving__fct_use_case_instances_started_date_within_range": _set("started_date = null"),
    "serving__fct_use_case_instances_cost_usd_within_range": _set("cost_usd = -1"),
    "serving__fct_use_case_instances_cost_usd_known": _set("cost_usd = 0.5"),
    "serving__rpt_use_case_unit_economics_not_empty": _EMPTIED,
    "serving__rpt_use_case_unit_economics_grain_unique": _DOUBLED,
    "serving__rpt_use_case_unit_economics_success_count_within_range": _set("success_count = 5"),
    "serving__rpt_use_case_unit_economics_success_share_within_range": _set("success_share = 75"),
    "serving__rpt_use_case_unit_economics_cost_usd_within_range": _set("cost_usd = -1"),
    "serving__rpt_use_case_leaderboard_not_empty": _EMPTIED,
    "serving__rpt_use_case_leaderboard_use_case_id_unique": _DOUBLED,
    "serving__rpt_use_case_leaderboard_success_share_within_range": _set("success_share = 75"),
    "serving__fct_invoice_lines_not_empty": _EMPTIED,
    "serving__fct_invoice_lines_line_unique": _DOUBLED,
    "serving__fct_invoice_lines_unconverted_reason_known": _set("unconverted_reason_type = null"),
    "serving__fct_invoice_lines_billed_cost_usd_type_known": _retyped("billed_cost_usd"),
    "serving__rpt_reconciliation_not_empty": _EMPTIED,
    "serving__rpt_reconciliation_grain_unique": _DOUBLED,
    "serving__rpt_reconciliation_difference_usd_reconciled": _set("difference_usd = 386559.99"),
    "serving__rpt_daily_reconciliation_grain_unique": _DOUBLED,
    "serving__rpt_daily_reconciliation_difference_usd_reconciled": _set("difference_usd = 0.24"),
    "serving__rpt_billing_periods_not_empty": _EMPTIED,
    "serving__rpt_billing_periods_grain_unique": _DOUBLED,
    "serving__rpt_billing_periods_status_type_known": _set("status_type = 'closed'"),
    "serving__rpt_billing_periods_invoice_usd_reconciled": _set("unexplained_usd = 0.49"),
    "serving__fct_provider_usage_not_empty": _EMPTIED,
    "serving__fct_provider_usage_grain_unique": _DOUBLED,
    "serving__fct_provider_usage_quantity_units_within_range": _set("quantity_units = -0.001"),
    "serving__fct_kpi_scores_not_empty": _EMPTIED,
    "serving__fct_kpi_scores_kpi_name_present": _set("kpi_name = null"),
    "serving__fct_kpi_scores_score_unique": _DOUBLED,
    "serving__fct_capacity_hours_not_empty": _EMPTIED,
    "serving__fct_capacity_hours_hour_unique": _DOUBLED,
    "serving__fct_capacity_hours_event_date_within_range": _set("event_date = date '2026-10-01'"),
    "serving__fct_capacity_hours_allocation_type_known": _set("allocation_type = 'idle'"),
    "serving__fct_capacity_hours_utilization_share_within_range": _set("utilization_share = 1.01"),
    "serving__fct_capacity_hours_cost_usd_within_range": _set("cost_usd = -1"),
    "serving__fct_capacity_hours_cost_usd_conserved": _set("idle_cost_usd = idle_cost_usd - 0.000000001"),
    "serving__rpt_capacity_utilization_not_empty": _EMPTIED,
    "serving__rpt_capacity_utilization_grain_unique": _DOUBLED,
    "serving__rpt_capacity_utilization_cost_usd_conserved": _set("used_cost_usd = null"),
    "serving__capacity_recommendations_not_empty": _EMPTIED,
    "serving__capacity_recommendations_scope_unique": _DOUBLED,
    "serving__capacity_recommendations_unavailable_reason_known": _set("unavailable_reason = null"),
    "serving__capacity_recommendations_recommended_units_within_range": _set("recommended_units = 23"),
    "serving__capacity_recommendations_recommended_usd_per_day_within_range": _set("recommended_usd_per_day = 24.01"),
    "serving__capacity_recommendations_saving_usd_per_day_reconciled": _set("saving_usd_per_day = null"),
    "serving__deployment_alternatives_not_empty": _EMPTIED,
    "serving__deployment_alternatives_candidate_unique": _DOUBLED,
    "serving__deployment_alternatives_unavailable_reason_known": _set("unavailable_reason = null"),
    "serving__deployment_alternatives_cost_usd_per_day_within_range": _set("cost_usd_per_day = -1"),
    "serving__deployment_alternatives_saving_usd_per_day_reconciled": _set("saving_usd_per_day = 10.01"),
}
