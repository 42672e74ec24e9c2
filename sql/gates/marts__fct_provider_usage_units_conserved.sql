-- Per source and day: landed results of usage reports count or are rejected, and the tokens of those that count are
-- those of the mart, whatever kinds they were split into.
with

delivered as (
    select
        source_name,
        event_date,
        sum(row_count) as result_count
    from ops.landing_files
    where feed = 'reports'
    group by all
),

kept as (
    select
        source_name,
        event_date,
        count(*) as result_count,
        sum(coalesce(reported_input_tokens, 0) + coalesce(reported_output_tokens, 0)) as tokens
    from intermediate.int_billing__reports_classified
    where reject_reason is null
    group by all
),

rejected as (
    select
        source_name,
        event_date,
        count(*) as result_count
    from intermediate.int_billing__reports_rejected
    group by all
),

usage as (
    select
        provider_usage.source_name,
        provider_usage.event_date,
        sum(case when unit_kinds.is_token then provider_usage.quantity_units end) as tokens
    from marts.fct_provider_usage as provider_usage
    left join reference.seed_unit_kinds as unit_kinds on provider_usage.unit_kind_type = unit_kinds.unit_kind
    group by all
),

compared as (
    select
        source_name,
        event_date,
        coalesce(delivered.result_count, 0) as delivered_result_count,
        coalesce(kept.result_count, 0) as kept_result_count,
        coalesce(rejected.result_count, 0) as rejected_result_count,
        coalesce(kept.tokens, 0) as reported_tokens,
        coalesce(usage.tokens, 0) as usage_tokens
    from delivered
    full join kept using (source_name, event_date)
    full join rejected using (source_name, event_date)
    full join usage using (source_name, event_date)
)

select
    *,
    1 as evaluated_count,
    cast(
        delivered_result_count <> kept_result_count + rejected_result_count
        or reported_tokens <> usage_tokens
        as integer
    ) as violation_count
from compared
order by source_name, event_date
