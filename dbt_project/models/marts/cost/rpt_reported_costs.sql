{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

calls as (
    select
        *,
        case when effective_cost_usd is not null then reported_cost_usd end as priced_reported_cost_usd
    from {{ ref('fct_calls') }}
    where
        {{ in_window('event_date') }}
        and reported_cost_usd is not null
),

final as (
    select
        event_date,
        coalesce(provider_name, 'unknown') as provider_name,
        coalesce(model_name, 'unknown') as model_name,
        cast(count(*) as bigint) as call_count,
        cast(sum(case when effective_cost_usd is null then 1 else 0 end) as bigint) as unpriced_call_count,
        cast(sum(case when effective_cost_usd = reported_cost_usd then 1 else 0 end) as bigint) as equal_call_count,
        cast(sum(reported_cost_usd) as decimal(38, 15)) as reported_cost_usd,
        cast(sum(priced_reported_cost_usd) as decimal(38, 15)) as priced_reported_cost_usd,
        cast(sum(list_cost_usd) as decimal(38, 15)) as list_cost_usd,
        cast(sum(contracted_cost_usd) as decimal(38, 15)) as contracted_cost_usd,
        cast(sum(effective_cost_usd) as decimal(38, 15)) as effective_cost_usd,
        cast(sum(effective_cost_usd) - sum(priced_reported_cost_usd) as decimal(38, 15)) as difference_usd
    from calls
    group by event_date, coalesce(provider_name, 'unknown'), coalesce(model_name, 'unknown')
)

select * from final
