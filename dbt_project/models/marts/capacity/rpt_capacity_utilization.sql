{{ config(
    materialized='incremental',
    incremental_strategy='replace_days',
    on_schema_change='fail',
    day_column='event_date',
) }}

with

hours as (
    select *
    from {{ ref('fct_capacity_hours') }}
    where {{ in_window('event_date') }}
),

commitments as (
    select * from {{ ref('dim_commitments') }}
),

aggregated as (
    select
        commitment_id,
        deployment_id,
        allocation_id,
        allocation_type,
        event_date,
        count(*) as hour_count,
        sum(units_count) as unit_hour_count,
        sum(capacity_tokens) as capacity_tokens,
        sum(used_tokens) as used_tokens,
        sum(spillover_tokens) as spillover_tokens,
        sum(call_count) as call_count,
        sum(spillover_call_count) as spillover_call_count,
        cast(sum(cost_usd) as decimal(38, 9)) as cost_usd,
        cast(sum(used_cost_usd) as decimal(38, 9)) as used_cost_usd,
        cast(sum(idle_cost_usd) as decimal(38, 9)) as idle_cost_usd,
        cast(sum(unallocated_cost_usd) as decimal(38, 9)) as unallocated_cost_usd,
        max(utilization_share) as max_utilization_share
    from hours
    group by commitment_id, deployment_id, allocation_id, allocation_type, event_date
),

final as (
    select
        aggregated.commitment_id,
        aggregated.deployment_id,
        aggregated.allocation_id,
        aggregated.allocation_type,
        commitments.provider_name,
        commitments.commitment_type,
        cast(aggregated.hour_count as bigint) as hour_count,
        cast(aggregated.unit_hour_count as bigint) as unit_hour_count,
        cast(aggregated.capacity_tokens as bigint) as capacity_tokens,
        cast(aggregated.used_tokens as bigint) as used_tokens,
        cast(aggregated.spillover_tokens as bigint) as spillover_tokens,
        cast(aggregated.call_count as bigint) as call_count,
        cast(aggregated.spillover_call_count as bigint) as spillover_call_count,
        aggregated.cost_usd,
        aggregated.used_cost_usd,
        aggregated.idle_cost_usd,
        aggregated.unallocated_cost_usd,
        cast(aggregated.used_tokens as double) / nullif(aggregated.capacity_tokens, 0) as utilization_share,
        aggregated.max_utilization_share,
        aggregated.event_date
    from aggregated
    left join commitments on aggregated.commitment_id = commitments.commitment_id
)

select * from final
