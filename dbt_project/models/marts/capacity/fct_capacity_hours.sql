{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

hours as (
    select *
    from {{ ref('int_capacity__deployment_hours') }}
    where {{ in_window('event_date') }}
),

final as (
    select
        commitment_id,
        deployment_id,
        coalesce(deployment_id, allocation_type) as allocation_id,
        allocation_type,
        units_count,
        capacity_tokens,
        used_tokens,
        spillover_tokens,
        call_count,
        spillover_call_count,
        cast(
            (used_nano_usd + idle_nano_usd + unallocated_nano_usd) * cast(0.000000001 as decimal(10, 9))
            as decimal(28, 9)
        ) as cost_usd,
        cast(used_nano_usd * cast(0.000000001 as decimal(10, 9)) as decimal(28, 9)) as used_cost_usd,
        cast(idle_nano_usd * cast(0.000000001 as decimal(10, 9)) as decimal(28, 9)) as idle_cost_usd,
        cast(unallocated_nano_usd * cast(0.000000001 as decimal(10, 9)) as decimal(28, 9)) as unallocated_cost_usd,
        cast(used_tokens as double) / nullif(capacity_tokens, 0) as utilization_share,
        hour_at,
        event_date
    from hours
)

select * from final
