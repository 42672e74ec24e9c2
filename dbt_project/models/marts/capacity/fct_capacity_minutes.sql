{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

minutes as (
    select *
    from {{ ref('int_capacity__minutes') }}
    where {{ in_window('event_date') }}
),

final as (
    select
        deployment_id,
        commitment_id,
        capacity_tokens,
        used_tokens + spillover_tokens as demand_tokens,
        used_tokens,
        spillover_tokens,
        inferred_spillover_tokens,
        call_count,
        spillover_call_count,
        throttled_call_count,
        minute_at,
        event_date
    from minutes
)

select * from final
