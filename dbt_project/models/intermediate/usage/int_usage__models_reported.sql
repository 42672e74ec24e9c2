{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

calls as (
    select * from {{ ref('int_usage__calls') }}
),

final as (
    select
        event_date,
        provider_name,
        model_name,
        service_tier,
        region_id,
        count(*) as call_count,
        sum(coalesce(reported_input_tokens, 0)) as reported_input_tokens,
        sum(coalesce(reported_output_tokens, 0)) as reported_output_tokens
    from calls
    where {{ in_window('event_date') }}
    group by event_date, provider_name, model_name, service_tier, region_id
)

select * from final
